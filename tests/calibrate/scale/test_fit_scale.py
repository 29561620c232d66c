"""Metres baked into a step graph: what is found, what the graph then gives, and what is refused."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth_calibrate import ScaleSettings, fit_scale
from vmdepth_calibrate.scale.fit_scale import summary
from vmdepth_export.conversion.proven_graph import bake_step_graph
from vmdepth_export.graph import METRES, read_step_graph, region_of, save_step_graph, with_contract
from vmdepth_export.metres import bake_metres
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.opening import open_pair
from vmdepth_runtime import DepthStream, InputError, Metres, WorkError, bundled, open_source
from vmdepth_runtime.contract import StateSpec, StepContract
from vmdepth_runtime.depth.scale.fit import fit_metres, some_points
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.sessions.onnx import OnnxSession

SCALE, SHIFT = 0.6, 0.1


@pytest.fixture(scope="module")
def rgbd(measure):
    return measure(SCALE, SHIFT)


@pytest.fixture(scope="module")
def metric(rgbd, tmp_path_factory):
    """The bundled model in metres, what was found, and the report."""
    folder = tmp_path_factory.mktemp("metric")
    settings = ScaleSettings(bundled.MODEL, str(rgbd), folder / "edge.metric.onnx", report=folder / "r.json")
    return settings.output, fit_scale(settings), json.loads(settings.report.read_text())


@pytest.mark.parametrize("points", [None, 200])
def test_of_rendered_clips_scale_and_shift_are_found_to_a_percent(points):
    """Depth of a network that errs by 2 %, and measurements of which one in twenty is anything; every pixel, or 200."""
    clips, random = render_clips(range(4), 5, 56, 84), np.random.default_rng(0)
    found = []
    for true in clips.depth[:, :, 0].flatten(0, 1).numpy():
        known = np.isfinite(true) & (true > 0)
        depth = (1 / np.where(known, true, 1) - SHIFT) / SCALE
        depth = (depth * random.normal(1, 0.02, depth.shape)).astype(np.float32)
        wrong = known & (random.random(true.shape) < 0.05)
        measured = np.where(wrong, random.uniform(0.2, 10, true.shape), true).astype(np.float32)
        found.append(some_points(depth, measured, points or true.size, random))
    depth, measured = (np.concatenate(side) for side in zip(*found, strict=True))
    metres = fit_metres(depth, measured, DEPTH_KINDS["relative"])
    assert metres.scale == pytest.approx(SCALE, rel=0.01)
    assert metres.shift == pytest.approx(SHIFT, abs=0.01 / float(np.median(measured)))


def test_the_truth_is_found_and_the_last_fifth_of_the_frames_says_how_well(metric):
    _, result, report = metric
    assert result.metres.scale == pytest.approx(SCALE, rel=0.002)
    assert result.metres.shift == pytest.approx(SHIFT, abs=0.001)
    assert result.frames == 5
    assert result.held_out.points == pytest.approx(result.seen.points / 4, rel=0.01)
    assert result.held_out.median < 1e-3
    assert report["refused"] is None
    assert report["held_out"]["median"] == result.held_out.median
    assert report["metres"] == {"scale": result.metres.scale, "shift": result.metres.shift, "farthest": pytest.approx(
        result.metres.farthest)}  # fmt: skip


def test_200_points_a_frame_are_enough(measure, tmp_path):
    settings = ScaleSettings(bundled.MODEL, str(measure(SCALE, SHIFT, points=200)), tmp_path / "m.onnx")
    metres = fit_scale(settings).metres
    assert metres.scale == pytest.approx(SCALE, rel=0.01)
    assert metres.shift == pytest.approx(SHIFT, abs=0.01 * SHIFT)


def test_the_graph_gives_the_metres_that_a_run_can_be_given(metric):
    path, result, _ = metric
    with DepthStream(path) as baked, DepthStream(metres=result.metres) as given, open_source("demo") as source:
        for _, frame in zip(range(4), source, strict=False):
            one, other = baked(frame.image), given(frame.image)
            np.testing.assert_allclose(one.depth, other.depth, rtol=1e-5)
            np.testing.assert_array_equal(one.descriptor, other.descriptor)
            assert one.state_change == other.state_change
        assert baked.contract.depth_kind == "metric"


def test_the_metadata_says_what_was_fitted_and_how_well(metric, rgbd):
    path, result, _ = metric
    contract = read_step_graph(path)[1]
    assert contract.metres == {
        "scale": result.metres.scale,
        "shift": result.metres.shift,
        "farthest": result.metres.farthest,
        "data": rgbd.name,
        "frames": 5,
        "median_error": result.held_out.median,
        "mean_error": result.held_out.mean,
        "delta1": result.held_out.delta1,
    }
    assert (contract.depth_unit, contract.parity["frames"]) == ("m", 12)
    own = read_step_graph(bundled.MODEL)[1]
    assert (contract.weights_hash, contract.states, contract.keyframes) == (
        own.weights_hash, own.states, own.keyframes)  # fmt: skip


def test_parity_with_the_network_without_a_unit_is_that_of_its_depth_in_metres(metric):
    with open_pair(bundled.MODEL, metric[0]) as (reference, candidate):
        assert reference.contract.depth_kind == candidate.contract.depth_kind == "metric"
        reference.frame[...] = candidate.frame[...] = 90
        np.testing.assert_allclose(reference.step()["depth"], candidate.step()["depth"], rtol=1e-5)
    with open_pair(metric[0], bundled.MODEL) as (reference, candidate):
        assert reference.contract.depth_kind == candidate.contract.depth_kind == "metric"


def test_half_precision_leaves_the_metres_in_float32(metric, tmp_path):
    path, _, _ = metric
    nodes = [node for node in read_step_graph(path)[0].graph.node if node.name.startswith(METRES)]
    assert [region_of(node) for node in nodes] == ["depth"] * 4
    report = bake_step_graph(path, tmp_path / "half.onnx", "fp16", frames=8)
    assert report.agrees
    contract = read_step_graph(tmp_path / "half.onnx")[1]
    assert contract.metres["scale"] == pytest.approx(SCALE, rel=0.002)
    assert contract.precision["depth"] == "float32"
    assert contract.precision["decoder"] == "float16"


def summing_graph(path, kind):
    """A step graph of 14×14 whose depth is red, whose camera is the mean colour and which remembers the sum of its
    depths."""
    extra = ("pose",)
    states = (StateSpec("sum", (1, 14, 14)),)
    contract = StepContract("sums", "0", 14, 14, states, depth_kind=kind, extra_outputs=extra)
    node, value = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Cast", ["frame"], ["rgb"], to=TensorProto.FLOAT),
        node("Split", ["rgb"], ["red", "green", "blue"], axis=3, num_outputs=3),
        node("Squeeze", ["red", "last"], ["depth"]),
        node("ReduceMean", ["rgb", "plane"], ["descriptor"], keepdims=0),
        node("ReduceMean", ["depth", "plane"], ["state_change"], keepdims=0),
        node("Concat", ["descriptor"] * 3, ["pose"], axis=1),
        node("Add", ["depth", "state.sum"], ["next.sum"]),
    ]
    lengths = {"descriptor": 3, "pose": 9}
    graph = helper.make_graph(
        nodes,
        "sums",
        [value(n, helper.np_dtype_to_tensor_dtype(np.dtype(s.dtype)), s.shape) for n, s in contract.inputs.items()],
        [value(n, TensorProto.FLOAT, [k or lengths[n] for k in s.shape]) for n, s in contract.outputs.items()],
        [numpy_helper.from_array(np.array(at), n) for n, at in {"last": [3], "plane": [1, 2]}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    save_step_graph(with_contract(model, contract), path)
    return path


def test_what_reads_the_depth_inside_the_graph_reads_it_as_it_was(tmp_path):
    """And the camera of scaled depth goes as far as the depth."""
    path, target = summing_graph(tmp_path / "sums.onnx", "scaled"), tmp_path / "metres.onnx"
    baked, in_metres = bake_metres(*read_step_graph(path), Metres(2.5), {})
    save_step_graph(baked, target)
    with OnnxSession(path) as plain, OnnxSession(target) as metric:
        for shade in (40, 90):
            plain.frame[...] = metric.frame[...] = shade
            one, other = plain.step(), metric.step()
            np.testing.assert_allclose(other["depth"], 2.5 * one["depth"], rtol=1e-6)
            np.testing.assert_allclose(other["pose"][:, :3], 2.5 * one["pose"][:, :3], rtol=1e-6)
            np.testing.assert_array_equal(other["pose"][:, 3:], one["pose"][:, 3:])
            for name, state in plain.states().items():
                np.testing.assert_array_equal(state, metric.states()[name])
    assert in_metres.metres == {"scale": 2.5, "shift": None, "farthest": 100.0}
    with open_pair(path, target) as (reference, candidate):  # which makes the same of the other
        reference.frame[...] = candidate.frame[...] = 40
        np.testing.assert_allclose(reference.step()["pose"], candidate.step()["pose"], rtol=1e-6)


def refused(error, data, tmp_path, model=bundled.MODEL, output="m.onnx", **settings):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error) as raised:
        fit_scale(ScaleSettings(model, str(data), tmp_path / output, **settings))
    assert sorted(tmp_path.iterdir()) == before
    return str(raised.value)


def test_a_fit_that_is_worse_than_it_should_be_is_not_written_and_says_by_how_much(measure, tmp_path):
    assert "m.onnx: not written, " in refused(WorkError, measure(SCALE, SHIFT, wrong=1.0), tmp_path)
    told = refused(WorkError, measure(SCALE, SHIFT, wrong=0.3), tmp_path, limit=1e-6)
    assert "half of the held-out points are off by" in told
    assert "--limit is 0.0%" in told


@pytest.mark.parametrize("found", [True, False])
def test_the_report_of_a_fit_that_is_refused_has_its_figures(measure, tmp_path, found):
    data, report, limit = measure(SCALE, SHIFT, frames=2, wrong=0.3), tmp_path / "r.json", 1e-6
    for path in [] if found else (data / "depth").iterdir():
        cv2.imwrite(str(path), np.full((96, 136), 7000, np.uint16))
    with pytest.raises(WorkError) as raised:
        fit_scale(ScaleSettings(None, str(data), tmp_path / "m.onnx", limit=limit, report=report))
    figures = json.loads(report.read_text())
    assert str(raised.value) == f"{tmp_path / 'm.onnx'}: not written, {figures['refused']}"
    assert (figures["metres"] is not None, figures["frames"]) == (found, 2)
    if found:
        assert figures["held_out"]["median"] > limit
    else:
        assert figures["refused"].endswith(": one distance for all of it would do as well")


def test_too_few_points_are_refused(measure, tmp_path):
    told = refused(InputError, measure(SCALE, SHIFT, points=20), tmp_path)
    assert told.endswith("80 points of measured depth to fit to, and it takes 100")
    assert refused(InputError, measure(SCALE, SHIFT, frames=2, points=0), tmp_path).endswith(
        "0 points of measured depth to fit to, and it takes 100"
    )


def test_noise_that_is_left_out_as_edges_is_told_to_be(measure, tmp_path):
    data = measure(SCALE, SHIFT, frames=1, wrong=1.0)
    (data / "intrinsics.json").unlink()  # which says registration_px 0
    told = refused(InputError, data, tmp_path)
    assert "0 points of measured depth to fit to, and it takes 100; 13056 more are left out, which lie at edges" in told


def test_one_frame_is_enough_and_a_line_says_that_nothing_is_held_out(measure, tmp_path):
    told = []
    data = measure(SCALE, SHIFT, frames=1)
    result = fit_scale(ScaleSettings(bundled.MODEL, str(data), tmp_path / "m.onnx"), warn=told.append)
    assert result.metres.scale == pytest.approx(SCALE, rel=0.01)
    assert ", of 1 frame; the same for one run: --metres " in summary(result)
    assert told == [f"{data}: depth was measured of one frame, which then also says how well it fits"]


def test_what_is_metric_already_or_no_data_or_no_graph_is_refused(metric, rgbd, tmp_path):
    assert "gives depth in metres, larger is farther already" in refused(InputError, rgbd, tmp_path, metric[0])
    assert "should end in .onnx" in refused(InputError, rgbd, tmp_path, output="m.engine")
    assert "no such folder" in refused(InputError, tmp_path / "none", tmp_path)
    assert "no such recording" in refused(InputError, tmp_path / "none.mcap", tmp_path)
    assert "has no measured depth; name a folder with rgb/" in refused(InputError, bundled.CLIP, tmp_path)
    assert "has no measured depth; name a folder with rgb/" in refused(InputError, bundled.CLIP.parent, tmp_path)
    assert "--depth-topic /lidar: is of recordings" in refused(InputError, rgbd, tmp_path, depth_topic="/lidar")
    assert "--camera 1,1,1,1: is of recordings" in refused(InputError, rgbd, tmp_path, camera="1,1,1,1")
    assert "no such file" in refused(InputError, rgbd, tmp_path, tmp_path / "none.onnx")


def test_kinds_of_depth_that_have_nothing_to_do_with_each_other_are_not_compared(tmp_path):
    relative, metric = (summing_graph(tmp_path / f"{kind}.onnx", kind) for kind in ("relative", "metric"))
    with (
        open_pair(relative, metric) as (reference, candidate),
        pytest.raises(InputError, match="differ in what depth is: relative inverse depth, larger is nearer; depth in"),
    ):
        compare(reference, candidate, [])
