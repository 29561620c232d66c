"""Weights in 8 bits, chosen so that what a layer gives changes least on what the stream lets it read.

The nearest 8-bit weights are not the best ones. Behind a ReLU all inputs are positive, and where a picture is flat
they are alike: a filter's rounding errors do not average out but add up, to another depth for all of a sky. Two things
mend that. The step of a channel is searched, so that weights which lie on a grid already (rounded in training, or taken
from a quantised model) are kept to the bit. Others are rounded one input at a time, and what that changes is made up
for by those that are still to be rounded: Frantar et al. 2022, "GPTQ", arXiv:2210.17323.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

_LARGEST = 127
_PATCHES = 64  # places of a frame that a layer's inputs are looked at
_WIDEST = 4096  # inputs above which their moments would take more memory than they are worth
_DAMPING = 0.01  # share of the mean second moment, for inputs that are always alike (Frantar et al.)
_NOISE = 1e-5  # steps off a grid that float32 itself may be


def channel_axis(node: NodeProto) -> int:
    """The axis of a layer's weight that its output channels lie along."""
    return 0 if node.op_type == "Conv" else 1


def channel_steps(weight: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """[channels]: the step of the least squared error, of those that make a channel's largest weight 64 … 127 steps."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1).clip(1e-30)
    steps, least = largest / _LARGEST, np.full(len(rows), np.inf)
    for count in range(_LARGEST, _LARGEST // 2, -1):
        step = largest / count
        numbers = rows / step[:, None]
        error = step**2 * ((np.rint(numbers) - numbers) ** 2).sum(axis=1)
        better = error < (1 - _NOISE) * least
        steps, least = np.where(better, step, steps), np.where(better, error, least)
    return steps


class InputMoments:
    """Second moments of what layers read, over a stream: of those layers whose weights lie on no grid of 8 bits.

    proto: a float32 step graph. layers: its nodes. A layer's moments are float32 [groups, inputs, inputs], inputs
    being what one output channel sums over.
    """

    def __init__(self, proto: onnx.ModelProto, layers: Iterable[NodeProto]) -> None:
        weights = {weight.name: weight for weight in proto.graph.initializer}
        self._layers: list[tuple[NodeProto, NDArray[np.float32]]] = []
        self._moments: dict[str, NDArray[np.float32]] = {}
        self._random = np.random.default_rng(0)
        for node in layers:
            weight = numpy_helper.to_array(weights[node.input[1]])
            rows, steps = _rows(node, weight), _steps(node, weight)
            groups, _, inputs = rows.shape
            if np.abs(np.rint(rows / steps) - rows / steps).max() > _NOISE * _LARGEST and inputs <= _WIDEST:
                self._layers.append((node, weight))
                self._moments[node.name] = np.zeros((groups, inputs, inputs), np.float32)

    def add(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Count what the layers read in one frame."""
        for node, weight in self._layers:
            seen = _patches(node, tensors[node.input[0]], weight, self._random)
            self._moments[node.name] += seen.transpose(0, 2, 1) @ seen

    def rounded(self, chosen: Collection[str]) -> dict[str, NDArray[np.float32]]:
        """By name the weights of those layers that `chosen` names, on grids whose steps `channel_steps` finds again."""
        result = {}
        for node, weight in self._layers:
            if node.name not in chosen:
                continue
            steps = _steps(node, weight)
            rows = steps * _compensated(_rows(node, weight) / steps, self._moments[node.name].astype(np.float64))
            flat = rows.reshape(-1, rows.shape[-1])
            flat = flat.T if node.op_type == "MatMul" else flat
            result[node.input[1]] = flat.reshape(weight.shape).astype(np.float32)
        return result


def _rows(node: NodeProto, weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """A layer's weight as [groups, output channels, inputs]."""
    if node.op_type == "MatMul":
        return weight.T[None].astype(np.float64)
    groups = _attribute(node, "group", 1)
    return weight.reshape(groups, len(weight) // groups, -1).astype(np.float64)


def _steps(node: NodeProto, weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """The step of every output channel, [groups, output channels, 1]."""
    groups = _attribute(node, "group", 1)
    return channel_steps(weight, channel_axis(node)).reshape(groups, -1, 1)


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return found[0] if found else default


def _patches(
    node: NodeProto, tensor: NDArray[np.float32], weight: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
    """What a layer reads at some of its places, [groups, places, inputs]; tensor: [B, C, H, W], or [..., C]."""
    if node.op_type == "MatMul":
        rows = tensor.reshape(-1, tensor.shape[-1])
        return rows[random.integers(len(rows), size=min(_PATCHES, len(rows)))][None]
    top, left, bottom, right = _attribute(node, "pads", (0, 0, 0, 0))
    (down, across), apart = _attribute(node, "strides", (1, 1)), _attribute(node, "dilations", (1, 1))
    padded = np.pad(tensor, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = tuple((size - 1) * gap + 1 for size, gap in zip(weight.shape[2:], apart, strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, ::down, ::across, :: apart[0], :: apart[1]]
    streams, channels, height, width = windows.shape[:4]
    places = random.integers((streams, height, width), size=(min(_PATCHES, height * width), 3))
    seen = windows[places[:, 0], :, places[:, 1], places[:, 2]]  # [places, channels, kernel height, width]
    groups = channels // weight.shape[1]
    return np.ascontiguousarray(seen.reshape(len(seen), groups, -1).transpose(1, 0, 2))


def _compensated(numbers: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers, −127 … 127, for numbers [groups, channels, inputs] and moments [groups, inputs, inputs]."""
    inputs = numbers.shape[2]
    damping = _DAMPING * np.trace(moments, axis1=1, axis2=2).clip(1e-12) / inputs
    inverse = np.linalg.inv(moments + damping[:, None, None] * np.eye(inputs))
    factor = np.linalg.cholesky(inverse).transpose(0, 2, 1)  # the upper one: what is still to be rounded comes after
    left, result = numbers.copy(), np.empty_like(numbers)
    for index in range(inputs):
        result[..., index] = np.rint(left[..., index]).clip(-_LARGEST, _LARGEST)
        off = (left[..., index] - result[..., index]) / factor[:, index, index][:, None]
        left[..., index:] -= off[..., None] * factor[:, None, index, index:]
    return result


def with_weights(proto: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """A copy of a graph with these weights, by name, in the place of its own."""
    result = onnx.ModelProto.FromString(proto.SerializeToString())
    for entry in result.graph.initializer:
        if entry.name in weights:
            entry.CopyFrom(numpy_helper.from_array(weights[entry.name], entry.name))
    return result
