"""Depth as raw numbers down a pipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import Sink, SinkFacts
from vmdepth_runtime.sources.base import SourceFrame


class StdoutSink(Sink):
    """float32 `[H, W]` of each frame to stdout, one after the other, little-endian, row by row."""

    example = "'-'"
    remark = "raw float32"

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        if sys.stdout.isatty():
            raise InputError("-: stdout is a terminal; lead it into a file or a program, or name an output")
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)

    @classmethod
    def accepts(cls, target: str) -> bool:
        return target == "-"

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        rest = np.ascontiguousarray(depth, "<f4").data.cast("B")
        while rest:
            rest = rest[self._out.write(rest) :]

    def close(self) -> None:
        self._out.close()
