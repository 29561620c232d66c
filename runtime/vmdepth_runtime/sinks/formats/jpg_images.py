"""Depth as coloured pictures, one per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding.pictures import picture
from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame
from vmdepth_runtime.sources.uri import scheme_of


class JpgSink(PerFrameSink):
    """Coloured depth alone, without the source beside it."""

    ending = ".jpg"
    remark = "coloured"
    needs_range = True
    wants_depth = False
    wants_colour = True

    @classmethod
    def accepts(cls, target: str) -> bool:
        return scheme_of(target) is None and Path(target).suffix.lower() in (".jpg", ".jpeg")

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> bytes:
        return picture(colour, self.ending)
