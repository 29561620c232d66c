"""Depth as float images, one per frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding.pictures import exr
from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame


class ExrSink(PerFrameSink):
    """OpenEXR, one float32 channel."""

    ending = ".exr"

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> bytes:
        return exr(depth)
