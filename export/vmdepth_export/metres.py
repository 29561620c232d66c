"""Metres as the last nodes of a step graph."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from vmdepth_export.graph import METRES, check, with_contract
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.scale.metres import Metres, in_metres

_WITHOUT_UNIT = ".unitless"
_POSE, _WAY = 9, 3  # numbers of the output, and those of them that are a way


def bake_metres(
    proto: onnx.ModelProto, contract: StepContract, metres: Metres, measured: dict[str, Any]
) -> tuple[onnx.ModelProto, StepContract]:
    """A copy of a step graph whose depth is in metres, and its contract.

    What else in the graph reads the network's depth reads it as it was. The new nodes compute in float32, in whatever
    precision the rest does. Of scaled depth, the way of a `pose` becomes metres as well.

    Args:
        proto: of depth of the kind that `metres` is for.
        contract: its own.
        metres: what makes them.
        measured: what the contract says beside them.
    """
    baked = onnx.ModelProto.FromString(proto.SerializeToString())
    if metres.shift is None:
        _append(baked.graph, "depth", {"Mul": [metres.scale]})
        if "pose" in contract.extra_outputs:
            _append(baked.graph, "pose", {"Mul": [metres.scale] * _WAY + [1.0] * (_POSE - _WAY)})
    else:
        numbers = {"Mul": [metres.scale], "Add": [metres.shift], "Max": [1 / metres.farthest], "Reciprocal": None}
        _append(baked.graph, "depth", numbers)
    baked.graph.ClearField("value_info")
    contract = replace(in_metres(contract), metres={**asdict(metres), **measured}, parity={})
    check(baked)
    return with_contract(baked, contract), contract


def _append(graph: onnx.GraphProto, output: str, operations: dict[str, list[float] | None]) -> None:
    """Let an output of a graph be made of what it was, by one operation after the other, with numbers or without."""
    at = f"{output}{_WITHOUT_UNIT}"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [at if name == output else name for name in names]
    for operation, numbers in operations.items():
        last = operation == list(operations)[-1]
        inputs, after = [at], output if last else f"{output}.{operation.lower()}"
        if numbers is not None:
            inputs.append(f"metres.{output}.{operation.lower()}")
            graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.float32), inputs[1]))
        graph.node.append(helper.make_node(operation, inputs, [after], name=f"{METRES}/{operation}_{output}"))
        at = after
