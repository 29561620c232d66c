"""Parity names the culprit."""

import json
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import contract_of
from vmdepth_export.conversion.proven_graph import bake_step_graph
from vmdepth_export.graph import element_types, expand, read_step_graph, save_step_graph, with_contract
from vmdepth_export.metres import bake_metres
from vmdepth_export.parity import comparison
from vmdepth_export.parity.bisect import NOTHING_INSIDE, DivergentFrame, find_culprit
from vmdepth_export.parity.cli import command, main
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.parity.probe import Probe
from vmdepth_export.step_graph import to_onnx
from vmdepth_runtime import Metres


@pytest.fixture(scope="module")
def half(step_graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    bake_step_graph(step_graph, path, "fp16", frames=3)
    return path


@pytest.fixture
def disagreement(monkeypatch, capfd):
    """What the command says about two sides that it finds different."""

    def run(*sides):
        monkeypatch.setattr(sys, "argv", ["vmdepth-parity", *map(str, sides), "--frames", "3", "--bisect"])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 1
        told = capfd.readouterr()
        return told.out + told.err

    return run


def test_a_weight(step_graph, tmp_path, disagreement):
    proto = onnx.load(step_graph)
    node = next(n for n in proto.graph.node if n.name == "encoder.blocks.5.mlp.fc1/MatMul_1")
    weight = next(i for i in proto.graph.initializer if i.name == node.input[1])
    values = numpy_helper.to_array(weight) * np.float32(1.05)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    path = tmp_path / "weight.onnx"
    save_step_graph(proto, path)
    assert f"first divergence at frame 0: {node.name} " in disagreement(step_graph, path)


def test_the_change_of_states(step_graph, tmp_path, disagreement):
    proto = onnx.load(step_graph)
    maker = next(n for n in proto.graph.node if "state_change" in n.output)
    two = numpy_helper.from_array(np.float32([2]), "two")
    proto.graph.initializer.append(two)
    maker.output[:] = ["half_of_it"]
    proto.graph.node.append(
        onnx.helper.make_node("Mul", ["half_of_it", "two"], ["state_change"], name="graph/Mul_twice")
    )
    path = tmp_path / "change.onnx"
    save_step_graph(proto, path)
    assert "first divergence at frame " in (told := disagreement(step_graph, path))
    assert "graph/Mul_twice" in told


def test_what_is_wrong_with_a_graph_in_metres_beside_that_without_a_unit(step_graph, tmp_path, disagreement):
    """Not that one has metres."""
    proto, _ = bake_metres(*read_step_graph(step_graph), Metres(0.5, 0.1), {})
    maker = next(n for n in proto.graph.node if "state_change" in n.output)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([2]), "two"))
    maker.output[:] = ["half_of_it"]
    proto.graph.node.append(
        onnx.helper.make_node("Mul", ["half_of_it", "two"], ["state_change"], name="graph/Mul_twice")
    )
    path = tmp_path / "metres.onnx"
    save_step_graph(proto, path)
    for sides in ((step_graph, path), (path, step_graph)):
        told = disagreement(*sides)
        assert "first divergence at frame 0: " in told
        assert "(tensor 'state_change')" in told


def test_a_state_of_another_shape(step_graph, tmp_path, disagreement):
    other = VideoDepth(replace(PRESETS["tiny"], head=MambaSettings(temporal_width=32))).eval()
    path = tmp_path / "narrow.onnx"
    save_step_graph(with_contract(to_onnx(other, 42, 56, 1, "explicit"), contract_of(other, 42, 56, 1)), path)
    told = disagreement(step_graph, path)
    assert "do not have the same states: layer_2.0.conv" in told


def test_states_that_changed_places(step_graph, tmp_path, disagreement):
    """Both are there and of one shape; they only have each other's names on the way out."""
    proto = onnx.load(step_graph)
    names = {"next.layer_3.0.ssm": "next.layer_3.1.ssm", "next.layer_3.1.ssm": "next.layer_3.0.ssm"}
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    maker = next(n for n in proto.graph.node if "next.layer_3.1.ssm" in n.output)
    path = tmp_path / "swapped.onnx"
    save_step_graph(proto, path)
    assert f"first divergence at frame 0: {maker.name} " in disagreement(step_graph, path)


def test_a_state_of_another_name(step_graph, tmp_path, disagreement):
    proto = onnx.load(step_graph)
    old, new = "layer_3.0.ssm", "layer_3.0.memory"
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [name.replace(old, new) if name in (f"state.{old}", f"next.{old}") else name for name in names]
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = value.name.replace(old, new)
    facts = json.loads(proto.metadata_props[0].value)
    for state in facts["states"]:
        state["name"] = state["name"].replace(old, new)
    proto.metadata_props[0].value = json.dumps(facts)
    path = tmp_path / "renamed.onnx"
    save_step_graph(proto, path)
    reader = next(n for n in proto.graph.node if f"state.{new}" in n.input)
    told = disagreement(step_graph, path)
    assert f"{reader.name} of {path} reads state.{new}" in told


def test_a_tolerance(step_graph, half, disagreement, monkeypatch):
    monkeypatch.setitem(comparison.TOLERANCES, "fp16", comparison.TOLERANCES["fp32"])
    assert "first divergence at frame 0: encoder.patch_embed.proj/Conv_1 " in disagreement(step_graph, half)


def test_a_fault_that_vanishes_under_the_look_is_told_as_one(step_graph):
    """Engines with other outputs are fused in another way: as if both sides had been computed by the same probe."""
    proto, _ = read_step_graph(step_graph)
    plain = expand(proto)
    session = open_graph(proto)
    frame = np.full(session.frame.shape, 100, np.uint8)
    diverging = DivergentFrame(3, frame, [session.states(), session.states()])
    told = find_culprit(
        plain, [element_types(plain)] * 2, [partial(Probe, plain)] * 2, diverging, "fp32", nothing=NOTHING_INSIDE
    )
    assert told.startswith("first divergence at frame 3: no inner tensor differs in engines that give ")
    assert "a fault of a fusion can vanish that way (reported of TensorRT on Thor)" in told


def test_half_precision_is_compared_with_the_tolerance_of_half_precision(step_graph, half, tmp_path):
    picture = tmp_path / "errors.png"
    done = CliRunner().invoke(command, [str(step_graph), str(half), "--frames", "3", "--picture", str(picture)])
    assert done.exit_code == 0, done.output
    assert "tolerance of fp16" in done.output
    assert picture.stat().st_size > 1000
