"""Weights stored in fewer bits where that loses nothing."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vmdepth.training.rounding import SMALLEST, on_grid


def store_small(proto: onnx.ModelProto) -> None:
    """Keep every large float32 weight that lies on a grid of 8 bits as int8 and a step per channel, in place.

    The weight under its old name is then Cast(int8) · step, exactly the float32 it was, which ONNX Runtime computes
    once, when it loads the graph. Weights that lie on no such grid stay (see `vmdepth.training.rounding`).
    """
    weights, nodes = [], []
    for weight in proto.graph.initializer:
        found = _exactly_on_grid(numpy_helper.to_array(weight)) if _is_large(weight) else None
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
    return weight.data_type == TensorProto.FLOAT and len(weight.dims) > 1 and np.prod(weight.dims) >= SMALLEST


def _exactly_on_grid(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Whole numbers and the step of every channel, broadcastable, whose products are the weight to the bit; or None.

    A matrix may have its channels along the first axis or, transposed by the exporter, the last.
    """
    tensor = torch.from_numpy(weight.copy())
    for axis in dict.fromkeys((0, 1, weight.ndim - 1)):
        numbers, step = on_grid(tensor, axis)
        if torch.equal(numbers * step, tensor):
            return numbers.numpy().astype(np.int8), step.numpy()
    return None
