"""A half-precision graph as ONNX Runtime's CPU can run it and still show its errors.

ONNX Runtime has few half-precision kernels for CPUs: for the others it slips casts to float32 in and drops the rounding
between them, and bfloat16 it refuses. Here every result is computed in float32 and rounded to the type that the graph
gives it, which is what tensor cores do (they sum in float32).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vmdepth_export.graph import MOVES, element_types

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_E4M3 = TensorProto.FLOAT8E4M3FN


def emulated(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph without arithmetic in half precision or E4M3; inputs and outputs keep their types."""
    types = element_types(proto)
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    graph = proto.graph
    for weight in graph.initializer:
        if weight.data_type in _HALVES:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name))
    _e4m3_weights(graph)
    nodes: list[NodeProto] = []
    inputs: dict[str, str] = {}
    for value in graph.input:
        if value.type.tensor_type.elem_type in _HALVES:
            inputs[value.name] = f"{value.name}.float"
            nodes.append(_cast(value.name, inputs[value.name], TensorProto.FLOAT))
    outputs = {value.name for value in graph.output if value.type.tensor_type.elem_type in _HALVES}
    for node in graph.node:
        node.input[:] = [inputs.get(name, name) for name in node.input]
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.i in _HALVES:
                    attribute.i = TensorProto.FLOAT
        nodes += _in_e4m3(node, types)
        for index, name in enumerate(node.output):
            half = types[name]
            if half not in _HALVES or (node.op_type in MOVES and name not in outputs):
                continue
            exact = nodes[-1].output[index] = f"{name}.exact"
            if name in outputs:
                inputs[name] = f"{name}.emulated"  # for those inside that read it, too
                nodes += [_cast(exact, name, half), _cast(name, inputs[name], TensorProto.FLOAT)]
            else:
                nodes += [_cast(exact, f"{name}.rounded", half), _cast(f"{name}.rounded", name, TensorProto.FLOAT)]
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("value_info")
    return proto


def _e4m3_weights(graph: onnx.GraphProto) -> None:
    """Put every weight kept in E4M3 there as the float32 it stands for."""
    weights = {weight.name: weight for weight in graph.initializer}
    nodes = []
    for node in graph.node:
        stored = weights.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if stored is None or stored.data_type != _E4M3:
            nodes.append(node)
            continue
        array, scale = (numpy_helper.to_array(weights[name]).astype(np.float32) for name in node.input[:2])
        shape = [1] * array.ndim
        shape[next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)] = -1
        stored.CopyFrom(numpy_helper.from_array(array * scale.reshape(shape), node.output[0]))
    graph.ClearField("node")
    graph.node.extend(nodes)


def _in_e4m3(node: NodeProto, types: dict[str, int]) -> list[NodeProto]:
    """The node; or in the place of one that rounds to E4M3 plain ones, between which Transposes may move.

    ONNX Runtime moves them in between QuantizeLinear and DequantizeLinear, and fails.
    """
    name, result = node.input[0], node.output[0]
    if node.op_type == "QuantizeLinear" and types[result] == _E4M3:
        ratio = f"{result}.ratio"
        divide = helper.make_node("Div", [name, node.input[1]], [ratio], name=f"emulation/Div_{result}")
        return [divide, _cast(ratio, result, _E4M3)]  # a Cast saturates, as QuantizeLinear does
    if node.op_type == "DequantizeLinear" and types[name] == _E4M3:
        number = f"{result}.number"
        multiply = helper.make_node("Mul", [number, node.input[1]], [result], name=f"emulation/Mul_{result}")
        return [_cast(name, number, TensorProto.FLOAT), multiply]
    return [node]


def _cast(name: str, after: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [name], [after], name=f"emulation/Cast_{after}", to=to)
