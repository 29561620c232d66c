"""INT8 and FP8 from ranges of a real stream: what is quantised, what it costs, and what is refused."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.evaluation.accuracy import accuracy
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_calibrate import CalibrationSettings, calibrate
from vmdepth_calibrate.calibration import ENOUGH, calibrate_on
from vmdepth_calibrate.quantise import layers, quantise, watched_tensors
from vmdepth_calibrate.ranges import ActivationHistograms, observe
from vmdepth_calibrate.rounding import with_weights
from vmdepth_calibrate.sensitivity import layer_costs
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.graph import expand, read_step_graph, region_of, with_contract
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import source_frames
from vmdepth_export.parity.opening import open_graph, open_model
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.onnx import OnnxSession

FRAMES = 120


def settings(model, output, **changes):
    """For frames that are at hand already."""
    return CalibrationSettings(model, data="frames at hand", output=output, **changes)


def calibrated(frames, settings):
    return calibrate_on(*read_step_graph(settings.model), frames, settings)


@pytest.fixture(scope="module")
def contract():
    return read_step_graph(bundled.MODEL)[1]


@pytest.fixture(scope="module")
def footage(contract, shared_data):
    folder = shared_data / "rgbd_office_a" / "rgb"
    return list(source_frames(str(folder), 500, contract.height, contract.width, 1))[::2]


@pytest.fixture(scope="module")
def int8(footage, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "edge.int8.onnx"
    calibrated(footage[:FRAMES], settings(bundled.MODEL, path))
    return path


@pytest.fixture(scope="module")
def wider(footage, contract, tmp_path_factory):
    """Calibrated on more than a kitchen, with the layers that cost most left as they are."""
    clips = render_clips(range(20, 60), 1, contract.height, contract.width)
    rendered = (clips.rgb[:, 0].clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).numpy()[:, None]
    frames = [frame for pair in zip(rendered, footage, strict=False) for frame in pair]
    path = tmp_path_factory.mktemp("wider") / "edge.int8.onnx"
    calibrated(frames, settings(bundled.MODEL, path, keep_above=0.005))
    return path


def test_held_out_frames_agree(wider, footage):
    report = compare(OnnxSession(bundled.MODEL), open_model(wider), footage[FRAMES : FRAMES + 60])
    assert report.precision == "int8"
    assert report.agrees, report.wrong
    assert report.agreement.delta1 >= 0.97


def test_against_the_truth_of_rendered_clips_no_point_is_lost(wider, contract):
    clips = render_clips(range(6), 8, contract.height, contract.width)
    images = (clips.rgb.clamp(0, 1) * 255).byte().permute(0, 1, 3, 4, 2).numpy()

    def delta1(session):
        found = []
        for clip, truth in zip(images, clips.depth.numpy(), strict=True):
            session.reset()
            depths = []
            for frame in clip:
                session.frame[0] = frame
                depths.append(session.step()["depth"][0].copy())
            found.append(accuracy(depths, list(truth[:, 0])).delta1)
        return float(np.mean(found))

    assert delta1(open_model(wider)) >= delta1(OnnxSession(bundled.MODEL)) - 0.01


def test_on_cpus_depth_of_another_video_changes_by_half_a_percent_of_its_range_at_most(
    footage, contract, tmp_path, shared_data
):
    """Ranges from a few frames of a kitchen and a rollercoaster, no layer left out by cost; measured in an office and
    in a street, whose things are nearer than any that ranges were taken of."""
    size = (contract.height, contract.width, contract.streams)
    coaster = list(source_frames(str(shared_data / "videos" / "davis_rollercoaster.mp4"), 70, *size))
    path = tmp_path / "q.onnx"
    calibrated([*coaster[::5], *footage[::20]], settings(bundled.MODEL, path, form="cpu"))
    for scene in ("hololens_office_dining", "tri_dgp_01_camera_05"):
        unseen = source_frames(str(shared_data / "real" / scene / "rgb"), 20, *size)
        assert compare(OnnxSession(bundled.MODEL), open_model(path), unseen).depth.mean <= 0.005


def test_weights_on_a_grid_are_kept_to_the_bit(int8):
    """Those that training has rounded: which steps they have is found."""
    exact = {entry.name: numpy_helper.to_array(entry) for entry in expand(onnx.load(bundled.MODEL)).graph.initializer}
    stored = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load(int8).graph.initializer}
    for layer in ("encoder.blocks.8.expand", "decoder.fusions.3.resConfUnit2.conv1"):
        name = f"model.{layer}.weight"
        again = stored[f"{name}_quantized"] * stored[f"{name}_scale"].reshape(-1, 1, 1, 1)
        assert np.allclose(again, exact[name], rtol=1e-5, atol=0), layer


def test_a_layer_left_in_float32_is_computed_in_float32(footage, contract):
    """ONNX Runtime would round its weights, all by one step, where what it reads and gives is quantised."""
    proto = expand(read_step_graph(bundled.MODEL)[0])
    name = "model.encoder.blocks.2.depthwise.weight"
    (entry,) = [entry for entry in proto.graph.initializer if entry.name == name]
    weight = numpy_helper.to_array(entry).copy()
    weight[0] *= 1000  # beside which all others would round to nothing
    proto = with_weights(proto, {name: weight})
    exact = open_graph(with_contract(proto, contract))
    ranges = observe(proto, watched_tensors(proto, "cpu"), exact, footage[:2]).ranges()
    around = [f"encoder.blocks.2.{layer}/Conv_1" for layer in ("expand", "project")]
    quantised, quantised_contract = quantise(proto, contract, ranges, around, "cpu", "int8")
    report = compare(exact, open_graph(with_contract(quantised, quantised_contract)), footage[:2])
    assert report.depth.mean < 0.005


def test_what_is_quantised_and_what_is_not(int8):
    proto = onnx.load(int8)
    makers = {name: node for node in proto.graph.node for name in node.output}
    quantised = {"encoder": 0, "decoder": 0}
    for node in proto.graph.node:
        if node.op_type not in ("MatMul", "Conv"):
            continue
        pairs = [makers[name].op_type == "DequantizeLinear" for name in node.input[:2] if name in makers]
        if len(pairs) == 2 and all(pairs):
            quantised[region_of(node)] += 1  # a KeyError for a head's product, or the last convolution
        else:
            assert not any(pairs), node.name
    there = [region_of(node) for node in layers(expand(onnx.load(bundled.MODEL)))]
    assert quantised == {region: there.count(region) for region in ("encoder", "decoder")}
    assert min(quantised.values()) > 20
    assert json.loads(proto.metadata_props[0].value)["precision"]["encoder"] == "int8"


def test_the_form_for_tensorrt_is_symmetric_and_leaves_biases(int8):
    proto = onnx.load(int8)
    weights = {entry.name: entry for entry in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero_point = weights[node.input[2]]
            assert zero_point.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero_point).any()
    dequantised = {name for node in proto.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    biases = [node.input[2] for node in proto.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    assert biases
    assert not dequantised & set(biases)


def test_the_form_for_cpus_is_u8_and_agrees(footage, tmp_path):
    path = tmp_path / "cpu.onnx"
    report = calibrated(footage[:30], settings(bundled.MODEL, path, form="cpu")).parity
    assert report.agrees
    assert any(
        entry.data_type == TensorProto.UINT8 and entry.name.endswith("zero_point")
        for entry in onnx.load(path).graph.initializer
    )


def test_fp8_agrees_on_a_transformer(footage, tmp_path):
    torch.manual_seed(0)
    export_step_graph(VideoDepth(PRESETS["tiny"]).eval(), tmp_path / "tiny.onnx", 56, 70, frames=3)
    frames = [cv2.resize(frame[0], (70, 56))[None] for frame in footage[:30]]
    path = tmp_path / "fp8.onnx"
    report = calibrated(frames, settings(tmp_path / "tiny.onnx", path, precision="fp8")).parity
    assert report.precision == "fp8"
    assert report.agrees, report.wrong
    assert any(entry.data_type == TensorProto.FLOAT8E4M3FN for entry in onnx.load(path).graph.initializer)


def test_a_graph_that_three_bits_of_mantissa_break_is_not_written(footage, tmp_path):
    """Convolutions without norms, whose random weights make depth nearly flat."""
    torch.manual_seed(0)
    graph = tmp_path / "edge.onnx"
    export_step_graph(VideoDepth(PRESETS["edge"]).eval(), graph, 64, 96, frames=3)
    frames = [cv2.resize(frame[0], (96, 64))[None] for frame in footage[:30]]
    with pytest.raises(WorkError, match="not written, its depth is too far from that of"):
        calibrated(frames, settings(graph, tmp_path / "fp8.onnx", precision="fp8"))
    assert [path.name for path in tmp_path.iterdir()] == ["edge.onnx"]


def test_ranges_are_those_of_the_stream():
    """All but one value in 10,000 is kept, and a range never reaches beyond what was seen."""
    values = np.random.default_rng(0).uniform(-1, 3, 1_000_000).astype(np.float32)
    values[:10] = 1000
    histograms = ActivationHistograms()
    histograms.add({"a": values[::2]})
    histograms.add({"a": values[1::2]})
    low, high = histograms.ranges()["a"]
    assert low == pytest.approx(-1, abs=1e-3)
    assert 2.9 < high < 4


def test_states_evolve_while_ranges_are_taken(footage):
    """The stream goes on from frame to frame while it is observed; that ranges follow is a matter of running it."""
    proto, _ = read_step_graph(bundled.MODEL)
    proto = expand(proto)
    session = OnnxSession(bundled.MODEL)
    observe(proto, ["depth"], session, footage[:5])
    after = session.states()
    assert after["counter"][0] == 5
    assert any(array.any() for name, array in after.items() if name.endswith("ssm"))


def test_every_layer_has_a_cost_and_dear_ones_can_stay(footage, contract):
    proto, _ = read_step_graph(bundled.MODEL)
    proto = expand(proto)
    session = OnnxSession(bundled.MODEL)
    ranges = observe(proto, watched_tensors(proto, "tensorrt"), session, footage[:3]).ranges()
    names = [node.name for node in layers(proto)]
    costs = list(islice(layer_costs(proto, contract, ranges, "tensorrt", "int8", footage[:2]), 4))
    assert [cost.layer for cost in costs] == names[:4]
    assert all(0 < cost.error < 0.01 for cost in costs)
    some, _ = quantise(proto, contract, ranges, names[:5], "tensorrt", "int8")
    assert sum(node.op_type == "QuantizeLinear" for node in some.graph.node) == 5


def test_leaving_every_layer_out_is_refused(footage, tmp_path):
    with pytest.raises(InputError, match="--keep-above 0: leaves no layer to quantise; the cheapest costs"):
        calibrated(footage[:3], settings(bundled.MODEL, tmp_path / "q.onnx", keep_above=0.0))
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_bad_input_in_one_line(int8, tmp_path, shared_data):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    fake = tmp_path / "fake.onnx"
    fake.write_text("hello")
    footage = shared_data / "rgbd_office_a" / "rgb"
    for model, source, *more in (
        (fake, footage),
        (tmp_path / "missing.onnx", footage),
        (int8, footage),
        (bundled.MODEL, tmp_path / "none.mp4"),
        (bundled.MODEL, text),
        (bundled.MODEL, footage, "--precision", "fp8", "--for", "cpu"),
    ):
        command = [
            sys.executable,
            "-m",
            "vmdepth_calibrate.cli",
            model,
            "--data",
            source,
            "-o",
            tmp_path / "q.onnx",
        ]
        done = subprocess.run([*map(str, command), *more], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("vmdepth-calibrate: ")
    assert not (tmp_path / "q.onnx").exists()


def test_the_library_function_calibrates_from_settings_quiet_but_for_what_it_warns_of(tmp_path, capfd):
    warned = []
    report = tmp_path / "report.json"
    chosen = CalibrationSettings(bundled.MODEL, str(bundled.CLIP), tmp_path / "q.onnx", frames=20, report=report)
    result = calibrate(chosen, warn=warned.append)
    assert result.parity.agrees
    assert json.loads(report.read_text())["agrees"]
    assert read_step_graph(chosen.output)[1].precision["encoder"] == "int8"
    assert warned == [f"--frames 20: ranges from fewer than {ENOUGH} often miss some"]
    assert capfd.readouterr() == ("", "")


def test_help_shows_the_defaults_of_the_settings_and_the_command_takes_them(monkeypatch):
    from vmdepth_calibrate import calibration
    from vmdepth_calibrate.cli import command

    words = ["a.onnx", "--data", "b.mp4", "-o", "c.onnx"]
    text = " ".join(command.get_help(command.make_context("vmdepth-calibrate", list(words))).split())
    for value in (CalibrationSettings.precision, CalibrationSettings.form):
        assert f"[default: {value}]" in text
    assert f"[default: {CalibrationSettings.frames}; x>=2]" in text

    given = []

    def stand_in(settings, **_):
        given.append(settings)
        raise WorkError("enough")

    monkeypatch.setattr(calibration, "calibrate", stand_in)
    with pytest.raises(WorkError, match="enough"):
        command.main(words, standalone_mode=False)
    assert given == [CalibrationSettings(Path("a.onnx"), "b.mp4", Path("c.onnx"))]


def test_calibration_needs_no_torch(tmp_path):
    """A board has none: a graph in, a quantised graph out, proven, in a process that cannot import it."""
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from vmdepth_calibrate import CalibrationSettings, calibrate\n"
        "from vmdepth_runtime import bundled\n"
        "settings = CalibrationSettings(bundled.MODEL, str(bundled.CLIP), Path(sys.argv[1]), frames=8)\n"
        "assert calibrate(settings).parity.agrees\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "q.onnx")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "q.onnx").is_file()
