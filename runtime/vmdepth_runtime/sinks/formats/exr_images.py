"""Depth as float images, one per frame."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame


class ExrSink(PerFrameSink):
    """OpenEXR, one float32 channel."""

    ending = ".exr"

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32]) -> bytes:
        height, width = depth.shape
        codec: Any = av.CodecContext.create("exr", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "grayf32le"
        codec.time_base = self.facts.info.time_base
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(depth, "<f4"), format="grayf32le")
        return b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])
