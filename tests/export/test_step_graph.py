"""The exported graph keeps the contract, and is the network."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.graph import OPSET
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames, source_frames
from vmdepth_export.step_graph import to_onnx
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import check_digest
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (42, 56)


def shapes(values):
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def test_inputs_and_outputs_are_those_of_the_contract(step_graph, network):
    graph = onnx.load(step_graph).graph
    states = {name: list(shape) for name, shape in network.state_shapes(1, *SIZE).items()}
    assert shapes(graph.input) == {"frame": [1, *SIZE, 3], **{f"state.{n}": s for n, s in states.items()}}
    assert shapes(graph.output) == {
        "depth": [1, *SIZE],
        "descriptor": [1, 192],
        "state_change": [1],
        **{f"next.{n}": s for n, s in states.items()},
    }


def test_the_graph_is_plain(step_graph):
    proto = onnx.load(step_graph)
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", OPSET)]
    assert not {n.op_type for n in proto.graph.node} & {"If", "Loop", "Scan", "Attention"}
    assert {"Gelu", "LayerNormalization"} <= {n.op_type for n in proto.graph.node}


def test_nodes_are_named_by_their_module_and_tell_nothing_of_the_machine(step_graph):
    proto = onnx.load(step_graph)
    modules = {node.name.rpartition("/")[0] for node in proto.graph.node}
    assert {"encoder.blocks.0.attn", "heads.layer_2", "decoder.scratch.output_conv2.0"} <= modules
    assert len({node.name for node in proto.graph.node}) == len(proto.graph.node)
    assert b".py" not in step_graph.read_bytes()
    assert [entry.key for entry in proto.metadata_props] == ["vmdepth", "vmdepth.digest"]
    assert check_digest(step_graph)


def test_metadata_says_what_the_graph_is(step_graph, network):
    facts = json.loads(onnx.load(step_graph).metadata_props[0].value)
    assert facts["version"] == 1
    assert (facts["height"], facts["width"], facts["streams"]) == (*SIZE, 1)
    assert facts["depth_kind"] == "relative"
    assert facts["weights_hash"].startswith("sha256:")
    assert [s["name"] for s in facts["states"]] == list(network.state_shapes(1, *SIZE))
    assert facts["parity"]["frames"] == 20
    assert facts["parity"]["depth"] <= 1e-4
    assert facts["parity"]["states"] <= 1e-4


def test_another_export_is_the_same_to_the_byte(step_graph, network, monkeypatch):
    """And one that rewrites as onnxscript does by itself, slowly."""
    first = onnx.load(step_graph)
    first.ClearField("metadata_props")
    monkeypatch.setattr("vmdepth_export.step_graph.quick_rewriting", nullcontext)
    assert to_onnx(network, *SIZE, 1, "explicit").SerializeToString() == first.SerializeToString()


@pytest.mark.parametrize("clip", ["rgbd_office_a/rgb", "videos/Tokyo-Walk_rgb.mp4", "videos/robot_unitree.mp4"])
def test_real_video_gives_the_same_depth_and_states(clip, step_graph, network, shared_data):
    frames = source_frames(str(shared_data / clip), 200, *SIZE, 1)
    report = compare(TorchSession(network, *SIZE), OnnxSession(step_graph), frames)
    assert report.frames >= 174
    assert report.agrees, report


def test_several_streams_keep_their_own_states(network, tmp_path):
    path = tmp_path / "two.onnx"
    export_step_graph(network, path, *SIZE, streams=2, frames=5)
    both, alone = OnnxSession(path), TorchSession(network, *SIZE)
    for frame in clip_frames(5, *SIZE, 2):
        both.frame[...] = frame
        alone.frame[0] = frame[1]
        depth, expected = both.step()["depth"][1], alone.step()["depth"][0]
    np.testing.assert_allclose(depth, expected, rtol=1e-4, atol=1e-5)


def test_a_network_without_heads_has_no_states(per_frame_network, tmp_path):
    path = tmp_path / "none.onnx"
    report = export_step_graph(per_frame_network, path, *SIZE, frames=3)
    assert report.agrees
    assert OnnxSession(path).states() == {}


def test_descriptor_has_unit_length_and_state_change_is_relative(step_graph):
    session = OnnxSession(step_graph)
    before = None
    for frame in clip_frames(3, *SIZE, 1):
        session.frame[...] = frame
        before = session.states()
        output = session.step()
    after = session.states()
    names = [name for name in before if name != "counter"]
    moved = np.sqrt(sum(((after[n] - before[n]) ** 2).sum() for n in names))
    size = np.sqrt(sum((before[n] ** 2).sum() for n in names))
    assert np.linalg.norm(output["descriptor"][0]) == pytest.approx(1, abs=1e-5)
    assert output["state_change"][0] == pytest.approx(moved / size, rel=1e-4)


def test_a_size_that_is_no_multiple_of_14_is_refused(network, tmp_path):
    with pytest.raises(InputError, match="the nearest are 196x238 and 210x252"):
        export_step_graph(network, tmp_path / "x.onnx", 200, 250)
    assert not list(tmp_path.iterdir())


def test_a_network_with_feed_forward_parts_is_the_same_network(tmp_path):
    """Frame by frame in PyTorch and as a graph, states included; in half precision within what that allows."""
    torch.manual_seed(0)
    head = MambaSettings(temporal_width=48, blocks=(2, 1, 1), feed_forward=2)
    model = VideoDepth(replace(PRESETS["tiny"], head=head)).eval()
    for part in model.heads.values():
        torch.nn.init.normal_(part.proj_out.weight, std=0.3)
        for feed_forward in part.feed_forwards:
            torch.nn.init.normal_(feed_forward.down.weight, std=0.3)
    export_step_graph(model, tmp_path / "fed.onnx", *SIZE, frames=20)  # compares before it writes
    report = compare(TorchSession(model, *SIZE), OnnxSession(tmp_path / "fed.onnx"), clip_frames(5, *SIZE, 1))
    assert report.agrees
    export_step_graph(model, tmp_path / "half.onnx", *SIZE, precision="fp16", frames=20)
