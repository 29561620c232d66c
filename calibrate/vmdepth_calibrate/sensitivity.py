"""What every single layer costs when it alone is quantised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from vmdepth_calibrate.quantise import QuantisationForm, QuantisedPrecision, layers, quantise
from vmdepth_calibrate.ranges import Ranges
from vmdepth_export.parity.comparison import spread
from vmdepth_export.parity.opening import open_graph
from vmdepth_runtime.contract import StepContract


@dataclass(frozen=True)
class LayerCost:
    """layer: the node's name. error: mean |Δ depth| ÷ range of the depth, over all frames, with it alone quantised."""

    layer: str
    error: float


def layer_costs(
    proto: onnx.ModelProto,
    contract: StepContract,
    ranges: Ranges,
    form: QuantisationForm,
    precision: QuantisedPrecision,
    frames: Sequence[NDArray[np.uint8]],
) -> Iterator[LayerCost]:
    """Cost of every layer of a float32 step graph, in the order of the graph; frames: uint8 [B, H, W, 3]."""
    exact = _depths(proto, frames)
    for node in layers(proto):
        quantised, _ = quantise(proto, contract, ranges, {node.name}, form, precision)
        off = [float(np.abs(a - b).mean()) / spread(a) for a, b in zip(exact, _depths(quantised, frames), strict=True)]
        yield LayerCost(node.name, float(np.mean(off)))


def _depths(proto: onnx.ModelProto, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    session = open_graph(proto)
    depths = []
    for frame in frames:
        session.frame[...] = frame
        depths.append(session.step()["depth"].copy())
    session.close()
    return depths
