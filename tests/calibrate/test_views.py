"""INT8 of Depth Anything 3 with one view: what is quantised, and that it agrees, in both forms."""

import pytest

from vmdepth.networks.multiview.single_view import SingleView
from vmdepth_calibrate import CalibrationSettings
from vmdepth_calibrate.calibration import calibrate_on
from vmdepth_calibrate.quantise import layers
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.graph import expand, read_step_graph
from vmdepth_export.parity.frames import clip_frames
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (28, 42)


@pytest.fixture(scope="module", params=["any-view", "mono"])
def graph(request, small_views, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / f"{request.param}.onnx"
    export_step_graph(SingleView(small_views(request.param)), path, *SIZE, frames=2)
    return path


def test_the_camera_and_what_makes_depth_and_sky_stay_in_float32(graph):
    proto, _ = read_step_graph(graph)
    names = [node.name for node in layers(expand(proto))]
    assert len(names) > 60
    assert not [name for name in names if "camera_decoder" in name or "output_conv2.2/" in name]


@pytest.mark.parametrize("form", ["tensorrt", "cpu"])
def test_int8_agrees(graph, form, tmp_path):
    settings = CalibrationSettings(graph, data="frames at hand", output=tmp_path / "int8.onnx", form=form)
    frames = list(clip_frames(20, *SIZE, 1))
    result = calibrate_on(*read_step_graph(graph), frames, settings)
    assert result.parity.agrees, result.parity.wrong
    _, contract = read_step_graph(settings.output)
    assert contract.precision["encoder"] == contract.precision["decoder"] == "int8"
    assert contract.precision["depth"] == "float32"
    if form == "cpu":
        with OnnxSession(settings.output) as session:
            assert set(contract.extra_outputs) < session.step().keys()
