"""Metres of a model without a unit, as somebody gives them: in streams, predictions and runs."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vmdepth_runtime import DepthStream, InputError, Metres, StepContract, predict
from vmdepth_runtime.depth.scale.metres import metres_of

SCALE, SHIFT, FARTHEST = 1.5, -0.1, 6.0
GIVEN = f"{SCALE},{SHIFT},{FARTHEST}"


@pytest.fixture(scope="module")
def frames(make):
    return make.noise(4, 28, 42)


def by_hand(depth):
    return 1 / np.maximum(SCALE * depth + SHIFT, 1 / FARTHEST)


def streamed(model, frames, **settings):
    with DepthStream(model, **settings) as stream:
        return np.stack([stream(frame).depth.copy() for frame in frames]), stream.contract


@pytest.mark.parametrize("given", [GIVEN, (SCALE, SHIFT, FARTHEST), Metres(SCALE, SHIFT, FARTHEST)])
def test_a_stream_gives_metres(luma_model, frames, given):
    relative, own = streamed(luma_model, frames)
    metres, contract = streamed(luma_model, frames, metres=given)
    np.testing.assert_allclose(metres, by_hand(relative), rtol=1e-5)
    assert metres.max() == np.float32(FARTHEST)
    assert (own.depth_kind, contract.depth_kind, contract.depth_unit) == ("relative", "metric", "m")


def test_states_and_what_else_the_network_gives_stay_as_they_were(luma_model, frames):
    with DepthStream(luma_model) as plain, DepthStream(luma_model, metres=GIVEN) as scaled:
        for frame in frames:
            one, other = plain(frame), scaled(frame)
            assert one.state_change == other.state_change
            np.testing.assert_array_equal(one.outputs["depth"], other.outputs["depth"])
            np.testing.assert_allclose(other.model_depth, by_hand(one.model_depth), rtol=1e-5)


def test_a_prediction_is_in_metres_and_saved_in_millimetres(luma_model, frames, tmp_path):
    relative, metric = predict(frames[0], model=luma_model), predict(frames[0], model=luma_model, metres=GIVEN)
    np.testing.assert_allclose(metric.depth, by_hand(relative.depth), rtol=1e-5)
    assert (relative.kind, metric.kind) == ("relative", "metric")
    metric.save(tmp_path / "depth.png")
    stored = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(stored, metric.depth * 1000, atol=0.51)
    with DepthStream(luma_model, metres=GIVEN) as stream:
        np.testing.assert_array_equal(stream.predict(frames[0]).depth, metric.depth)


def test_scaled_depth_and_the_camera_take_one_factor(build_graph, frames):
    model = build_graph(depth_kind="scaled", extra_outputs=("pose",))
    with DepthStream(model) as plain, DepthStream(model, metres="2.5") as scaled:
        one, other = plain(frames[0]), scaled(frames[0])
        np.testing.assert_allclose(other.depth, 2.5 * one.depth, rtol=1e-6)
        np.testing.assert_allclose(other.pose[:3], 2.5 * one.pose[:3], rtol=1e-6)
        np.testing.assert_array_equal(other.pose[3:], one.pose[3:])
        np.testing.assert_allclose(scaled.predict(frames[0]).pose, other.pose, rtol=1e-6)


def test_metres_are_made_after_key_frames_have_anchored_the_depth(luma_model, frames):
    from vmdepth_runtime.depth.stream_batch import StreamBatch
    from vmdepth_runtime.sessions.onnx import OnnxSession

    class Bank:
        scale = 1.0

        def update(self, depth, *_):
            depth += 0.25

    with OnnxSession(luma_model) as session:
        plain = StreamBatch(session).step([frames[0]])[0].depth.copy()
        session.reset()
        batch = StreamBatch(session, metres=Metres(SCALE, SHIFT, FARTHEST))
        batch.banks = [Bank()]
        np.testing.assert_allclose(batch.step([frames[0]])[0].depth, by_hand(plain + 0.25), rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("metric", "1,2", "metres, larger is farther already; leave it out"),
        ("relative", "2", "larger is nearer; it takes SCALE,SHIFT"),
        ("scaled", "2,0", "larger is farther; it takes SCALE alone"),
        ("relative", "1,b", r"--metres '1,b': is SCALE,SHIFT\[,FARTHEST\]"),
        ("relative", "1,2,3,4", "is SCALE,SHIFT"),
        ("relative", "-1,2", "scale and farthest are above 0"),
        ("relative", "1,nan", "scale and farthest are above 0"),
        ("relative", "1e300,0", r"no number is beyond 1e\+30"),
        ("relative", "1,-1e300", r"no number is beyond 1e\+30"),
        ("relative", "1e-60,0", "or nearer to 0 than one over that"),
        ("relative", "1,0,1e-60", "or nearer to 0 than one over that"),
        ("relative", "", "is SCALE,SHIFT"),
    ],
)
def test_metres_that_cannot_be_meant_are_refused(build_graph, frames, kind, given, told):
    model = build_graph(depth_kind=kind)
    with pytest.raises(InputError, match=told):
        DepthStream(model, metres=given)
    with pytest.raises(InputError, match=told):
        predict(frames[0], model=model, metres=given)


def test_a_graph_that_is_not_metric_says_nothing_of_metres(luma_model):
    with DepthStream(luma_model) as stream:
        contract = stream.contract
    assert "metres" not in contract.to_json()
    made = {"scale": 1.5, "shift": None, "farthest": 100.0}
    metric = replace(contract, depth_kind="metric", metres=made)
    assert StepContract.from_json(metric.to_json(), "a.onnx") == metric
    assert metres_of(metric) == Metres(1.5)
    for broken in (replace(metric, depth_kind="relative"), replace(metric, metres={"scale": 1.5})):
        with pytest.raises(InputError, match=r"a.onnx: its 'vmdepth' metadata breaks the contract \(metres"):
            StepContract.from_json(broken.to_json(), "a.onnx")


def test_a_run_is_in_metres_everywhere(vmdepth_run, luma_model, frames, make, tmp_path):
    make.video(tmp_path / "walk.mp4", np.concatenate([frames] * 3))
    words = ["walk.mp4", "-o", "relative.npz"]
    assert vmdepth_run(*words).code == 0
    words = ["walk.mp4", "-o", "d.npz", "-o", "%03d.png", "-o", "d.mp4", "--metres", GIVEN, "--report", "r.json"]
    assert vmdepth_run(*words).code == 0
    relative, metric = np.load(tmp_path / "relative.npz"), np.load(tmp_path / "d.npz")
    assert metric["depth_kind"] == "metric"
    np.testing.assert_allclose(metric["depth"], by_hand(relative["depth"]), rtol=1e-4)
    stored = cv2.imread(str(tmp_path / "000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(stored, metric["depth"][0] * 1000, atol=0.51)
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["model"]["depth_kind"], report["model"]["metres"]) == ("metric", "1.5,-0.1,6")
    bounds = report["sources"][0]["colour_range"]
    assert 0 < bounds["high"] < bounds["low"] <= FARTHEST  # near and far, in metres


@pytest.mark.parametrize(("given", "told"), [("1,-50", 1), ("1e+30,0", 1), ("1.5,0.1", 0)])
def test_a_run_whose_metres_leave_no_distances_says_so_once(
    vmdepth_run, luma_model, frames, make, tmp_path, given, told
):
    make.video(tmp_path / "walk.mp4", frames)
    outcome = vmdepth_run("walk.mp4", "--metres", given, "-o", "d.npz", "--model", luma_model)
    line = f"at 100 m or below a millimetre; is --metres {given} of this model, and of such a place?"
    assert sum(shown.endswith(line) for shown in outcome.lines) == told


def test_the_report_says_what_a_graph_makes_metres_with(vmdepth_run, build_graph, frames, make, tmp_path):
    made = {"scale": 1.5, "shift": -0.1, "farthest": 6.0}
    make.video(tmp_path / "walk.mp4", frames)
    model = build_graph(depth_kind="metric", metres=made)
    assert vmdepth_run("walk.mp4", "-o", "d.npz", "--model", model, "--report", "r.json").code == 0
    assert json.loads((tmp_path / "r.json").read_text())["model"]["metres"] == "1.5,-0.1,6"


def test_a_run_refuses_metres_of_a_model_that_gives_them(vmdepth_run, build_graph, frames, make, tmp_path):
    make.video(tmp_path / "walk.mp4", frames)
    outcome = vmdepth_run("walk.mp4", "--metres", "1,2", "--model", build_graph(depth_kind="metric"))
    assert outcome.code == 2
    assert outcome.lines[0].startswith("vmdepth-run: --metres 1,2: ")
    assert len(outcome.lines) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["walk.mp4"]
