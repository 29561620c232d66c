"""Depth as NumPy arrays, one per frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding.pictures import npy
from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame


class NpySink(PerFrameSink):
    """float32 `[H, W]`, for `np.load`."""

    ending = ".npy"

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> memoryview:
        return npy(depth)
