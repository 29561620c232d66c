"""Half precision baked into the graph: where it is, where it is not, and what it costs."""

from collections import defaultdict

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vmdepth.session import TorchSession
from vmdepth_export.conversion.proven_graph import bake_step_graph, export_step_graph
from vmdepth_export.graph import element_types, read_step_graph, region_of, with_contract
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.emulation import emulated
from vmdepth_export.parity.frames import clip_frames, source_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.precision import HALVES, bake
from vmdepth_runtime import bundled
from vmdepth_runtime.contract import REGIONS
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@pytest.fixture(scope="module", params=list(TYPES))
def baked(request, step_graph):
    return request.param, *bake(*read_step_graph(step_graph), request.param)


def test_every_region_computes_in_its_type(baked):
    precision, proto, contract = baked
    types = element_types(proto)
    found = defaultdict(set)
    for node in proto.graph.node:
        if node.op_type in ("MatMul", "Conv", "LayerNormalization", "Softmax", "Exp", "Softplus", "Gelu", "Sqrt"):
            found[region_of(node)] |= {types[name] for name in node.output}
    assert found.keys() == set(REGIONS)
    for region, seen in found.items():
        assert seen == {TYPES[precision] if region in HALVES else TensorProto.FLOAT}, region
        assert contract.precision[region] == (DTYPES[precision] if region in HALVES else "float32")


def test_the_door_keeps_its_types_and_the_graph_stays_plain(baked, step_graph):
    _, proto, _ = baked
    onnx.checker.check_model(proto, full_check=True)
    exact = onnx.load(step_graph).graph
    for ours, theirs in ((proto.graph.input, exact.input), (proto.graph.output, exact.output)):
        assert {v.name: v.type.SerializeToString() for v in ours} == {
            v.name: v.type.SerializeToString() for v in theirs
        }


def test_half_a_graph_is_half_as_large(baked, step_graph):
    _, proto, _ = baked
    assert 0.5 < proto.ByteSize() / step_graph.stat().st_size < 0.6


def test_real_video_stays_right_for_500_frames(tmp_path, shared_data):
    """The bundled model, every result rounded to float16 where the graph says so."""
    path = tmp_path / "half.onnx"
    bake_step_graph(bundled.MODEL, path, "fp16", frames=5)
    proto, contract = read_step_graph(path)
    frames = source_frames(str(shared_data / "rgbd_office_a" / "rgb"), 500, contract.height, contract.width, 1)
    report = compare(OnnxSession(bundled.MODEL), open_graph(proto), frames)
    assert report.frames == 500
    assert report.agrees, report.wrong
    assert report.depth.mean <= 5e-3
    assert report.depth.growth <= 1.5


def test_rounding_is_not_lost_in_emulation():
    """ONNX Runtime's own way to run float16 on a CPU drops roundings between two nodes; the emulated graph must not."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1])
    one = numpy_helper.from_array(np.float16([2048]), "one")
    nodes = [helper.make_node("Add", ["x", "one"], ["sum"]), helper.make_node("Sub", ["sum", "one"], ["y"])]
    proto = helper.make_model(
        helper.make_graph(nodes, "lossy", [x], [y], [one]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    session = onnxruntime.InferenceSession(emulated(proto).SerializeToString())
    assert session.run(None, {"x": np.float16([1])})[0] == np.float16(1) + np.float16(2048) - np.float16(2048) == 0


@pytest.mark.parametrize("location", ["../w.bin", "elsewhere.bin"])
def test_weights_outside_the_graphs_folder_or_missing_are_refused(step_graph, tmp_path, location):
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "moved.onnx"
    onnx.save(onnx.load(step_graph), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "here" / "w.bin").rename(tmp_path / "w.bin")
    proto = onnx.load(path, load_external_data=False)
    for weight in proto.graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=r"moved\.onnx: refused, its weights lie outside its folder or are not there"):
        read_step_graph(path)


def test_what_is_baked_is_not_baked_again(baked):
    _, proto, contract = baked
    with pytest.raises(InputError, match="is baked in already; start from the fp32 step graph"):
        bake(proto, contract, "fp16")


def test_a_node_of_no_region_is_refused_by_name(step_graph):
    proto, contract = read_step_graph(step_graph)
    proto.graph.node[-1].name = "adapter/Add_1"
    with pytest.raises(InputError, match=r"^node 'adapter/Add_1' is of no module .*; export it again with '.*'$"):
        bake(proto, contract, "fp16")


def test_weights_beyond_float16_are_refused_by_name(step_graph):
    proto, contract = read_step_graph(step_graph)
    weight = next(i for i in proto.graph.initializer if i.name.endswith("output_conv2.0.weight"))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1e7), weight.name))
    with pytest.raises(InputError, match=r"output_conv2.0.weight' reaches .* float16 ends at 65504; use bf16"):
        bake(proto, contract, "fp16")
    bake(proto, contract, "bf16")


@pytest.fixture(scope="module")
def fused(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("fused") / "fused.onnx"
    return path, export_step_graph(network, path, 42, 56, frames=10, attention="fused")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_attention_as_one_operator_agrees(network, fused, precision):
    path, report = fused
    proto, contract = read_step_graph(path)
    if precision != "fp32":  # as an export in it does once it has traced the step
        proto, contract = bake(proto, contract, precision)
        half = open_graph(with_contract(proto, contract))
        report = compare(TorchSession(network, 42, 56), half, clip_frames(10, 42, 56, 1))
    assert report.agrees
    assert (report.frames, report.precision) == (10, precision)
    operators = [node for node in proto.graph.node if node.op_type == "Attention"]
    assert len(operators) == len(network.encoder.blocks)
    assert not any(node.op_type == "Softmax" for node in proto.graph.node)
    assert contract.precision["softmax"] == contract.precision["encoder"] == DTYPES[precision]
