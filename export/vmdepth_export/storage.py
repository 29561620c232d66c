"""Weights stored in fewer bits where that loses nothing."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_SMALLEST = 4096
"""Numbers that a weight has at least: for small ones the extra nodes cost more than they save."""


def store_small(proto: onnx.ModelProto) -> None:
    """Keep every large float32 weight that lies on a grid of 8 bits as int8 and a step per channel, in place.

    The weight under its old name is then Cast(int8) · step, exactly the float32 it was, which ONNX Runtime computes
    once, when it loads the graph. Weights that lie on no such grid stay (see `vmdepth.training.rounding`).
    """
    weights, nodes = [], []
    for weight in proto.graph.initializer:
        found = _on_grid(numpy_helper.to_array(weight)) if _is_large(weight) else None
        if found is None:
            weights.append(weight)
            continue
        numbers, step = found
        stored, steps, cast = f"{weight.name}.int8", f"{weight.name}.step", f"{weight.name}.cast"
        weights += [numpy_helper.from_array(numbers, stored), numpy_helper.from_array(step, steps)]
        nodes.append(helper.make_node("Cast", [stored], [cast], name=f"{weight.name}/Cast", to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [cast, steps], [weight.name], name=f"{weight.name}/Mul"))
    rest = list(proto.graph.node)
    for field, values in (("initializer", weights), ("node", nodes + rest)):
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(values)


def _is_large(weight: TensorProto) -> bool:
    return weight.data_type == TensorProto.FLOAT and len(weight.dims) > 1 and np.prod(weight.dims) >= _SMALLEST


def _on_grid(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Whole numbers and the step of every channel, broadcastable, whose products are the weight to the bit; or None.

    A matrix may have its channels along the first axis or, transposed by the exporter, the last.
    """
    for axis in dict.fromkeys((0, 1, weight.ndim - 1)):
        others = tuple(other for other in range(weight.ndim) if other != axis)
        largest = np.maximum(np.abs(weight).max(axis=others, keepdims=True), np.float32(1e-30))
        step = np.exp2(np.ceil(np.log2(largest.astype(np.float64) / 127))).astype(np.float32)
        numbers = np.rint(weight / step)
        if np.array_equal(numbers * step, weight):
            return numbers.astype(np.int8), step
    return None
