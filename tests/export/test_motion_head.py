"""The motion head in a step graph: the same numbers, in float32 whatever the precision of the rest, and engines."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession
from vmdepth_export.graph import MOVES, element_types, save_step_graph, with_contract
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.precision import bake
from vmdepth_export.step_graph import to_onnx
from vmdepth_runtime.contract import FRAME, state_input

SIZE = 96, 144
MOST_NODES = 1100  # the fit is unrolled: every one of them costs a launch


@pytest.fixture(scope="module")
def session():
    torch.manual_seed(0)
    network = VideoDepth(replace(PRESETS["edge"], motion=MotionSettings(width=8))).eval().requires_grad_(False)
    network.dynamic.conv2.bias.zero_()
    network.dynamic.conv2.weight.normal_()
    return TorchSession(network, *SIZE)


@pytest.fixture(scope="module")
def graph(session):
    return to_onnx(session.model, *SIZE, 1, "explicit")


def test_the_step_graph_and_the_session_say_the_same(session, graph):
    assert session.contract.extra_outputs == ("dynamic",)
    engine = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in engine.get_outputs()]
    states = {state_input(n): np.zeros(s, np.float32) for n, s in session.model.state_shapes(1, *SIZE).items()}
    for number, frame in enumerate(clip_frames(12, *SIZE, 1)):
        session.frame[:] = frame
        expected = session.step()
        got = dict(zip(names, engine.run(None, {FRAME: frame, **states}), strict=True))
        assert np.abs(got["dynamic"] - expected["dynamic"]).max() < 1e-4
        assert got["dynamic"].any() == (number > 0)
        states = {name: got[name.replace("state.", "next.", 1)] for name in states}


def test_it_is_few_nodes_under_its_own_name(graph):
    modules = {node.name.partition(".")[0].partition("/")[0] for node in graph.graph.node if "dynamic" in node.name}
    assert modules == {"dynamic"}
    assert sum(node.name.startswith("dynamic") for node in graph.graph.node) <= MOST_NODES


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_it_stays_float32(session, graph, precision):
    half, _ = bake(graph, session.contract, precision)
    types = element_types(half)
    computing = [n for n in half.graph.node if n.name.startswith("dynamic") and n.op_type not in {*MOVES, "Cast"}]
    made = {types[name] for node in computing for name in node.output}
    assert TensorProto.FLOAT in made and not made & {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    assert onnx.checker.check_model(half, full_check=True) is None


@pytest.mark.tensorrt_rtx
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_rtx_builds_it(session, graph, precision, elsewhere, tmp_path):
    from vmdepth_export.conversion.proven_engine import build_engine
    from vmdepth_export.engine import BuildSettings

    path, engine = tmp_path / "moving.onnx", tmp_path / "moving.engine"
    save_step_graph(with_contract(*bake(graph, session.contract, precision)), path)
    assert build_engine(path, engine, BuildSettings("tensorrt-rtx", (elsewhere,)))
