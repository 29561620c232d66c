"""Step graphs that tell what moves: proven as depth is, in every precision, and made of what can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from vmdepth.checkpoint import load_stepping, save, telling_what_moves, weights_hash
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.moving.moving_network import MovingNetwork
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession
from vmdepth_calibrate import CalibrationSettings
from vmdepth_calibrate.calibration import calibrate_on
from vmdepth_calibrate.quantise import layers
from vmdepth_export.conversion.cli import command
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.graph import expand, read_step_graph, region_of, save_step_graph, with_contract
from vmdepth_export.parity.cli import command as parity
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.precision import bake
from vmdepth_runtime.contract import Ring
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (28, 42)


@pytest.fixture(scope="module")
def graph(tmp_path_factory, small_views):
    """Of a causal network of views with a window of 4."""
    path = tmp_path_factory.mktemp("dynamic") / "causal.onnx"
    export_step_graph(MovingNetwork(CausalViews(small_views("any-view"), 4)), path, *SIZE, frames=5)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a network whose frames never meet: what it knows of those before fades."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("dynamic") / "tiny.safetensors"
    save(path, VideoDepth(NetworkConfig("tiny", 32, (24, 48, 96, 192), head=NoHead())), "tiny")
    return path


def invoke(*args):
    return CliRunner().invoke(command, [str(arg) for arg in args], catch_exceptions=False)


def test_the_graph_is_the_network_over_two_hundred_frames(graph, small_views):
    network = MovingNetwork(CausalViews(small_views("any-view"), 4))
    report = compare(TorchSession(network, *SIZE), OnnxSession(graph), clip_frames(200, *SIZE, 1))
    assert report.frames == 200
    assert report.agrees, report.wrong
    assert max(figures.largest for figures in report.outputs.values()) <= 1e-4


def test_an_engine_tells_the_same(graph, assert_engine_steps_as):
    assert_engine_steps_as(graph, 12)


def test_what_it_promises(graph, small_views):
    proto, contract = read_step_graph(graph)
    assert contract.extra_outputs == ("confidence", "pose", "dynamic")
    rings = {state.name: state.ring for state in contract.states if state.name.startswith("dynamic.")}
    assert rings == {
        "dynamic.weight": None,
        "dynamic.maps": None,
        "dynamic.product": None,
        **dict.fromkeys(["dynamic.keys_5", "dynamic.queries_7", "dynamic.queries_11"], Ring(4, 1, 2)),
    }
    assert contract.weights_hash == weights_hash(CausalViews(small_views("any-view"), 4))
    assert {region_of(node) for node in proto.graph.node if node.name.startswith("dynamic/")} == {"recurrence"}
    assert not [node.name for node in proto.graph.node if "network" in node.name]
    assert {region_of(node) for node in layers(expand(proto))} == {"encoder", "decoder"}  # what INT8 is for


@pytest.mark.parametrize("precision", ["fp16", pytest.param("bf16", marks=pytest.mark.slow)])
def test_in_half_precision_statistics_stay_float32(graph, precision):
    proto, contract = bake(*read_step_graph(graph), precision)
    for state in contract.states:
        scene = state.ring and not state.name.startswith("dynamic.")
        assert state.dtype == ("float16" if scene and precision == "fp16" else "float32"), state.name
    report = compare(OnnxSession(graph), open_graph(with_contract(proto, contract)), clip_frames(90, *SIZE, 1))
    assert report.agrees, report.wrong


@pytest.mark.slow
@pytest.mark.parametrize("form", ["cpu", "tensorrt"])
def test_int8_agrees(graph, form, tmp_path):
    settings = CalibrationSettings(graph, data="frames at hand", output=tmp_path / "int8.onnx", form=form)
    result = calibrate_on(*read_step_graph(graph), list(clip_frames(12, *SIZE, 1)), settings)
    assert result.parity.agrees, result.parity.wrong
    _, contract = read_step_graph(settings.output)
    assert (contract.precision["encoder"], contract.precision["recurrence"]) == ("int8", "float32")


@pytest.mark.tensorrt_rtx
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_rtx_builds_it(graph, precision, elsewhere, tmp_path):
    from vmdepth_export.conversion.proven_engine import build_engine
    from vmdepth_export.engine import BuildSettings

    path = tmp_path / "moving.onnx"
    save_step_graph(with_contract(*bake(*read_step_graph(graph), precision)), path)
    assert build_engine(path, tmp_path / "moving.engine", BuildSettings("tensorrt-rtx", (elsewhere,)))


def test_a_stream_goes_on_from_its_states_and_forgets_on_reset(graph):
    frames = list(clip_frames(12, *SIZE, 1))

    def over(session, frames):
        for frame in frames:
            session.frame[...] = frame
            yield session.step()["dynamic"].copy()

    with OnnxSession(graph) as one, OnnxSession(graph) as other:
        begun = list(over(one, frames[:7]))
        one.save(0, snapshot := one.snapshot())
        other.restore(0, snapshot)
        np.testing.assert_array_equal(list(over(one, frames[7:])), list(over(other, frames[7:])))
        other.reset()
        np.testing.assert_array_equal(list(over(other, frames[:7])), begun)


def test_the_command_writes_it_and_parity_finds_the_form_in_it(checkpoint, tmp_path):
    path = tmp_path / "moving.onnx"
    told = invoke(checkpoint, "-o", path, "--dynamic-mask", "--size", "28x42", "--proof-frames", 5)
    assert told.exit_code == 0
    assert ", dynamic, " in told.output
    states = [state.name for state in read_step_graph(path)[1].states]
    assert {"dynamic.weight", "dynamic.maps", "dynamic.keys_0", "dynamic.queries_11"} < set(states)
    same = CliRunner().invoke(parity, [str(checkpoint), str(path), "--frames", "5"], catch_exceptions=False)
    assert same.exit_code == 0, same.output
    with OnnxSession(path) as session:
        for number, frame in enumerate(clip_frames(5, *SIZE, 1)):
            session.frame[...] = frame
            dynamic = session.step()["dynamic"]
            assert (dynamic.shape, dynamic.dtype) == ((1, *SIZE), np.float32)
            assert dynamic.any() == (number >= 3)


def test_a_motion_head_is_what_tells_where_there_is_one(tmp_path):
    save(tmp_path / "head.safetensors", VideoDepth(replace(PRESETS["edge"], motion=MotionSettings(width=8))), "edge")
    network = load_stepping(tmp_path / "head.safetensors", dynamic_mask=True)
    assert isinstance(network, VideoDepth)
    assert network.extra_outputs == ("dynamic",)


def test_what_cannot_tell_is_refused_in_one_line(graph, checkpoint, official_weights, tmp_path):
    edge, single = tmp_path / "edge.safetensors", tmp_path / "small.safetensors"
    save(edge, VideoDepth(PRESETS["edge"]), "edge")
    with pytest.raises(InputError, match=r"edge.* no attention in its encoder.*leave .*--dynamic-mask.* out"):
        load_stepping(edge, dynamic_mask=True)
    with pytest.raises(InputError, match="tells what moves by itself"):
        telling_what_moves(checkpoint, load_stepping(checkpoint, dynamic_mask=True))
    with pytest.raises(InputError, match=r"--dynamic-mask: is chosen when a checkpoint is exported"):
        invoke(graph, "-o", tmp_path / "half.onnx", "--precision", "fp16", "--dynamic-mask")
    save_file({f"model.{name}": weight for name, weight in official_weights("da3_small").items()}, single)
    assert load_stepping(single, dynamic_mask=True).extra_outputs == ("confidence", "pose", "dynamic")
