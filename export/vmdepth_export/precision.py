"""An fp32 step graph with half precision baked in: every tensor's type is in the graph, so any engine builder obeys it.

TensorRT 11 knows only such strongly typed networks, TensorRT 10 takes them too. What overflows or drifts stays float32,
by region: see `HALVES`. Converters that work from lists of operators get this network wrong; here the module that a
node belongs to decides, which the exporter wrote into its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vmdepth_export.graph import BF16_OPSET, MOVES, OUTSIDE, check, element_types, expand, region_of
from vmdepth_runtime.contract import StepContract, of_the_scene, state_input, state_output
from vmdepth_runtime.errors import InputError

Precision = Literal["fp32", "fp16", "bf16"]

HALVES = ("encoder", "projections", "decoder")
"""The regions that take half precision; every other one overflows, drifts or decides the depth, and stays float32."""

_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_ARRAYS: dict[int, Any] = {
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}
_LARGEST_FLOAT16 = 65504.0


def bake(proto: onnx.ModelProto, contract: StepContract, precision: Precision) -> tuple[onnx.ModelProto, StepContract]:
    """A copy of a step graph that computes in `precision` what it computed in float32, and its contract.

    Layers that calibration quantised stay so. Inputs and outputs keep their types, but for float16 rings of past
    inputs, which are float16 as well: they are read whole with every frame. Fused attention takes its softmax along
    into half precision: TensorRT refuses the attribute that would keep it in float32. Raises InputError for a graph
    that has half precision already, whose weights float16 cannot hold, or with a node of no region.
    """
    baked = {"float16", "bfloat16"} & set(contract.precision.values())
    if baked:
        raise InputError(f"{contract.model}: {baked.pop()} is baked in already; start from the fp32 step graph")
    proto = expand(proto)
    if precision == "fp32":
        return proto, contract
    states = tuple(
        replace(state, dtype="float16") if precision == "fp16" and state.ring and of_the_scene(state.name) else state
        for state in contract.states
    )
    _Baker(proto, _TYPES[precision]).run({state.name for state in states if state.dtype == "float16"})
    if precision == "bf16":
        for entry in proto.opset_import:
            entry.version = max(entry.version, BF16_OPSET)
    check(proto)
    halves = {*HALVES, *(["softmax"] if any(node.op_type == "Attention" for node in proto.graph.node) else [])}
    regions = {
        region: _NAMES[precision] if region in halves and dtype == "float32" else dtype
        for region, dtype in contract.precision.items()
    }
    return proto, replace(contract, states=states, precision=regions, parity={})


class _Baker:
    def __init__(self, proto: onnx.ModelProto, half: int) -> None:
        self.graph = proto.graph
        self.half = half
        self.types = element_types(proto)
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        self.nodes: list[NodeProto] = []
        self.converted: dict[tuple[str, int], str] = {}

    def run(self, half_states: Iterable[str]) -> None:
        for name in half_states:
            next(v for v in self.graph.input if v.name == state_input(name)).type.tensor_type.elem_type = self.half
            next(v for v in self.graph.output if v.name == state_output(name)).type.tensor_type.elem_type = self.half
            self.types[state_input(name)] = self.half
        for node in self.graph.node:
            self._bake(node)
            self.nodes.append(node)
        for value in self.graph.output:
            self._leave_as(value.name, value.type.tensor_type.elem_type)
        used = {name for node in self.nodes for name in node.input} | {value.name for value in self.graph.output}
        for field, values in (
            ("node", self.nodes),
            ("initializer", [weight for weight in self.weights.values() if weight.name in used]),
        ):
            self.graph.ClearField(field)
            getattr(self.graph, field).extend(values)
        self.graph.ClearField("value_info")

    def _bake(self, node: NodeProto) -> None:
        region = region_of(node)
        wanted = self.half if region in HALVES else TensorProto.FLOAT
        if node.op_type in MOVES and node.input[0] not in self.weights and self._floats(node.input[0]):
            wanted = self.types[node.input[0]]
        for index, name in enumerate(node.input):
            # Factors of a Resize are float32 by definition.
            if name and self._floats(name) and not (node.op_type == "Resize" and index > 0):
                node.input[index] = self._as(name, wanted, node.name.rpartition("/")[0])
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.i == TensorProto.FLOAT:
                    attribute.i = wanted
        for name in node.output:
            if self._floats(name):
                self.types[name] = wanted

    def _leave_as(self, output: str, wanted: int) -> None:
        """Give an output of the graph the type that the contract says, if it has another one by now."""
        if self.types[output] == wanted:
            return
        inner = f"{output}.inner"
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [inner if name == output else name for name in names]
        self.nodes.append(helper.make_node("Cast", [inner], [output], name=f"{OUTSIDE}/Cast_{output}", to=wanted))

    def _floats(self, name: str) -> bool:
        return self.types[name] in (TensorProto.FLOAT, self.half)

    def _as(self, name: str, wanted: int, module: str) -> str:
        """The tensor in a type: itself, a weight converted now, or a Cast of it."""
        if self.types[name] == wanted:
            return name
        key = (name, wanted)
        if key not in self.converted:
            self.converted[key] = after = f"{name}.{TensorProto.DataType.Name(wanted).lower()}"
            self.types[after] = wanted
            if name in self.weights:
                self.weights[after] = _half_weight(self.weights[name], after, wanted)
            else:
                node = helper.make_node("Cast", [name], [after], name=f"{module}/Cast_{after}", to=wanted)
                self.nodes.append(node)
        return self.converted[key]


def _half_weight(weight: TensorProto, name: str, wanted: int) -> TensorProto:
    array = numpy_helper.to_array(weight)
    if wanted == TensorProto.FLOAT16 and array.size and float(np.abs(array).max()) > _LARGEST_FLOAT16:
        raise InputError(f"weight '{weight.name}' reaches {np.abs(array).max():.3g}, float16 ends at 65504; use bf16")
    return numpy_helper.from_array(array.astype(_ARRAYS[wanted]), name)
