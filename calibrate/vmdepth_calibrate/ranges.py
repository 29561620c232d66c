"""Ranges of activations, from running the stream: real frames, and the graph's own states evolving with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from vmdepth_calibrate.rounding import InputMoments
from vmdepth_export.parity.probe import Probe
from vmdepth_runtime.sessions.base import StepSession

Ranges = dict[str, tuple[float, float]]
_BINS = 2048
# Least error of the depth, measured on a ViT, preset tiny: 0.28 % of its range with this percentile, 0.33 with the full
# range, 0.38 by entropy; in the CPU's form 1.0, 1.1 and 19 %.
_PERCENTILE = 99.99


class ActivationHistograms:
    """Histograms of tensors over a stream."""

    def __init__(self) -> None:
        self._collector = HistogramCollector("percentile", True, _BINS, _BINS, _PERCENTILE, "same")

    def add(self, tensors: dict[str, NDArray[np.float32]]) -> None:
        """Count the values of one frame."""
        with redirect_stdout(StringIO()):  # it talks
            self._collector.collect(tensors)

    def ranges(self) -> Ranges:
        """Lowest and highest value to keep, per tensor: what lies outside is clipped."""
        with redirect_stdout(StringIO()):
            found = self._collector.compute_collection_result()
        lowest = {name: (float(low), float(high)) for name, (_, _, low, high) in self._collector.histogram_dict.items()}
        return {
            name: (max(float(low), lowest[name][0]), min(float(high), lowest[name][1]))
            for name, (low, high, *_) in found.items()
        }


def observe(
    proto: onnx.ModelProto,
    tensors: Sequence[str],
    session: StepSession,
    frames: Iterable[NDArray[np.uint8]],
    moments: InputMoments | None = None,
) -> ActivationHistograms:
    """Run a step graph over frames uint8 [B, H, W, 3] from its initial states and watch the named tensors.

    session: the same graph, which keeps the states. moments: gets the tensors as well.
    """
    probe = Probe(proto, tensors)
    histograms = ActivationHistograms()
    session.reset()
    for frame in frames:
        found = probe(frame, session.states())
        histograms.add(found)
        if moments is not None:
            moments.add(found)
        session.frame[...] = frame
        session.step()
    return histograms
