"""The edge preset down the whole road: network, step graph, half precision, INT8, over many frames of real video."""

import pytest

from vmdepth.session import TorchSession
from vmdepth_calibrate.quantise import layers, quantise, watched_tensors
from vmdepth_calibrate.ranges import observe
from vmdepth_export.conversion.proven_graph import bake_step_graph, export_step_graph
from vmdepth_export.graph import expand, read_step_graph, region_of, with_contract
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames, source_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (48, 80)


@pytest.fixture(scope="module")
def edge(remembering):
    return remembering("edge")


def test_the_graph_is_the_network_and_pads_in_its_convolutions(edge, tmp_path):
    report = export_step_graph(edge, tmp_path / "edge.onnx", *SIZE, frames=20)
    assert report.agrees
    proto, _ = read_step_graph(tmp_path / "edge.onnx")
    kinds = {node.op_type for node in proto.graph.node}
    assert "Pad" not in kinds and "Softmax" not in kinds
    pads = {
        node.name.split("/")[0]: next(list(a.ints) for a in node.attribute if a.name == "pads")
        for node in proto.graph.node
        if node.op_type == "Conv"
    }
    assert pads["encoder.stem"] == pads["encoder.blocks.1.depthwise"] == [0, 0, 1, 1]  # below and to the right
    assert {region_of(node) for node in proto.graph.node} >= {"encoder", "decoder", "depth", "projections"}
    longer = compare(TorchSession(edge, *SIZE), OnnxSession(tmp_path / "edge.onnx"), clip_frames(60, *SIZE, 1))
    assert longer.agrees and longer.frames == 60


def test_a_size_the_encoder_cannot_take_is_refused_with_the_nearest(edge, tmp_path):
    with pytest.raises(InputError, match="196x252 is no multiple of 16; the nearest are 192x240 and 208x256"):
        export_step_graph(edge, tmp_path / "x.onnx", 196, 252)
    assert not list(tmp_path.iterdir())


def test_half_precision_agrees_with_every_result_rounded(tmp_path):
    assert bake_step_graph(bundled.MODEL, tmp_path / "half.onnx", "fp16", frames=40).agrees


def test_in_the_cpus_form_ranges_do_the_work_of_relu_and_relu6(shared_data):
    """Every one of them that follows a quantised layer is gone, and depth is what it was, over 60 frames not seen."""
    proto, contract = read_step_graph(bundled.MODEL)
    proto = expand(proto)
    video = str(shared_data / "videos" / "Tokyo-Walk_rgb.mp4")
    frames = list(source_frames(video, 120, contract.height, contract.width, 1))
    ranges = observe(
        proto, watched_tensors(proto, "cpu"), open_graph(with_contract(proto, contract)), frames[:60]
    ).ranges()
    chosen = [node.name for node in layers(proto)]
    quantised, q_contract = quantise(proto, contract, ranges, chosen, "cpu", "int8")
    given = {node.output[0] for node in quantised.graph.node if node.name in chosen}
    assert not [n.name for n in quantised.graph.node if n.op_type in ("Clip", "Relu") and n.input[0] in given]
    before, after = (sum(n.op_type == "Clip" for n in p.graph.node) for p in (proto, quantised))
    assert before >= 35 > 3 >= after
    report = compare(OnnxSession(bundled.MODEL), open_graph(with_contract(quantised, q_contract)), iter(frames[60:]))
    assert report.agreement.delta1 >= 0.97
