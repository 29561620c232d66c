"""Looking inside a step graph: chosen inner tensors of one step, computed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from vmdepth_export.graph import element_types
from vmdepth_runtime.contract import FRAME, state_input


class Probe:
    """A step graph whose inner tensors can be read.

    tensors: names of outputs of nodes. A call takes a frame uint8 [B, H, W, 3] and the states by name, and returns the
    tensors by name; it keeps nothing.
    """

    def __init__(self, proto: onnx.ModelProto, tensors: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._tensors = list(tensors)
        self._session = onnxruntime.InferenceSession(
            with_outputs(proto, tensors).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, frame: NDArray[np.uint8], states: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        inputs = {FRAME: frame, **{state_input(name): array for name, array in states.items()}}
        return dict(zip(self._tensors, self._session.run(self._tensors, inputs), strict=True))


def with_outputs(proto: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy of a graph that gives these inner tensors out as well."""
    types = element_types(proto)
    watched = onnx.ModelProto.FromString(proto.SerializeToString())
    there = {value.name for value in watched.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, types[name], None) for name in tensors if name not in there
    )
    return watched
