"""Depth as numbers: one archive, or raw frames down a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from array import array
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import FileSink, Sink, SinkFacts, renamed, writing
from vmdepth_runtime.sources.base import SourceFrame

_NPY_HEADER_BYTES = 128


class NpzSink(FileSink):
    """`depth` float32 `[N, H, W]` at the source's size and `times` float64 `[N]` in seconds, for `np.load`.

    Frames go to disk as they come, in a `.npy` file beside the target; at the end its header gets the count and the
    whole goes into the archive, uncompressed. Until then the disk holds the depth twice.
    """

    wants_colour = False

    def __init__(self, path: Path, facts: SinkFacts) -> None:
        super().__init__(path)
        self._info = facts.info
        self._times = array("d")
        self._npy = self._part.with_name(f"{self._part.name}.npy")
        with writing(path):
            self._file = self._npy.open("wb")
            self._file.write(self._header())

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        self._file.write(np.ascontiguousarray(depth, "<f4").data)
        self._times.append(frame.time)

    def _finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()
        with zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("depth.npy", "w", force_zip64=True) as target, self._npy.open("rb") as depth:
                shutil.copyfileobj(depth, target, 1 << 20)
            with archive.open("times.npy", "w") as target:
                np.lib.format.write_array(target, np.array(self._times), version=(1, 0))
        self._npy.unlink()

    def _drop(self) -> None:
        with suppress(OSError):
            self._file.close()
        self._npy.unlink(missing_ok=True)

    def _salvage(self) -> Path:
        """The depth alone: an archive would need as much room again."""
        self._part.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.close()
        with suppress(OSError), self._npy.open("r+b") as file:
            file.truncate(_NPY_HEADER_BYTES + 4 * self.frames * self._info.height * self._info.width)
            file.write(self._header())
        return renamed(self._npy, self.path.with_name(f"{self.path.stem}.partial.npy"))

    def _header(self) -> bytes:
        """Always as long, whatever the count, so that it can be written over."""
        shape = (self.frames, self._info.height, self._info.width)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        body = text.ljust(_NPY_HEADER_BYTES - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode()


class RawSink(Sink):
    """float32 `[H, W]` of each frame to stdout, one after the other, little-endian, row by row."""

    wants_colour = False

    def __init__(self, facts: SinkFacts) -> None:
        super().__init__("-")
        if sys.stdout.isatty():
            raise InputError("-: stdout is a terminal; lead it into a file or a program, or name an output")
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        rest = np.ascontiguousarray(depth, "<f4").data.cast("B")
        while rest:
            rest = rest[self._out.write(rest) :]

    def close(self) -> None:
        self._out.close()
