"""INT8 of Depth Anything 3 with one view: what is quantised, and that it agrees, in both forms."""

import pytest

from vmdepth_calibrate import CalibrationSettings
from vmdepth_calibrate.calibration import calibrate_on
from vmdepth_calibrate.quantise import layers
from vmdepth_export.graph import expand, read_step_graph
from vmdepth_export.parity.frames import clip_frames
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (28, 42)


@pytest.mark.parametrize("kind", ["any-view", "metric"])
def test_the_camera_and_what_makes_depth_and_sky_stay_in_float32(kind, view_graph):
    proto, _ = read_step_graph(view_graph(kind))
    names = [node.name for node in layers(expand(proto))]
    assert len(names) > 60
    assert not [name for name in names if "camera_decoder" in name or "output_conv2.2/" in name]


SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in (("any-view", "cpu"), ("metric", "tensorrt"))]


@pytest.mark.parametrize(("kind", "form"), [("any-view", "tensorrt"), ("metric", "cpu"), *SLOW])
def test_int8_agrees(kind, form, view_graph, tmp_path):
    graph = view_graph(kind)
    settings = CalibrationSettings(graph, data="frames at hand", output=tmp_path / "int8.onnx", form=form)
    frames = list(clip_frames(40, *SIZE, 1))  # beside fewer the worlds outweigh them, and random weights know no world
    result = calibrate_on(*read_step_graph(graph), frames, settings)
    assert result.parity.agrees, result.parity.wrong
    _, contract = read_step_graph(settings.output)
    assert contract.precision["encoder"] == contract.precision["decoder"] == "int8"
    assert contract.precision["depth"] == "float32"
    if form == "cpu":
        with OnnxSession(settings.output) as session:
            assert set(contract.extra_outputs) < session.step().keys()
