"""Depth of all frames as one NumPy archive."""

from __future__ import annotations

import shutil
import zipfile
from array import array
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import SinkFacts, writing
from vmdepth_runtime.sinks.files import OneFileSink, renamed
from vmdepth_runtime.sources.base import SourceFrame

_NPY_HEADER_BYTES = 128
_LARGE = 2 << 30  # bytes, from which the size is said beforehand
_LEVEL = 1  # of compression: depth gets no smaller with more, which only takes longer
_BLOCK = 1 << 20  # bytes that go into the archive at once


class NpzSink(OneFileSink):
    """`depth` float32 `[N, H, W]` at the source's size and `times` float64 `[N]` in seconds, for `np.load`.

    Frames go to disk as they come, in a `.npy` file beside the target; at the end its header gets the count and the
    whole goes into the archive, compressed where the run wants that. Until then the disk holds the depth twice.
    """

    ending = ".npz"

    @classmethod
    def foretell(cls, target: str, facts: SinkFacts) -> str | None:
        info = facts.info
        size = 4 * info.height * info.width * (info.frames or 0)
        folder = Path(target).absolute().parent
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        what = f"{info.frames} frames of {info.width}x{info.height} are {size / 2**30:.1f} GiB"
        if free < (size if facts.compress else 2 * size):
            raise InputError(
                f"{target}: {what}, twice that until it is finished, and the disk has {free / 2**30:.1f} GiB; take "
                f"fewer frames, or 16-bit images: -o '{Path(target).stem}/%06d.png'"
            )
        if size < _LARGE:
            return None
        less = "--compress saves about a sixth" if not facts.compress else "compressed about a sixth less"
        return f"{target}: {what}; {less}, 16-bit images are smaller"

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self._times = array("d")
        self._npy = self._part.with_name(f"{self._part.name}.npy")
        with writing(self.path):
            self._file = self._npy.open("wb")
            self._file.write(self._header())

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        self._file.write(np.ascontiguousarray(depth, "<f4").data)
        self._times.append(frame.time)

    def _finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()
        method = zipfile.ZIP_DEFLATED if self.facts.compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(self._part, "w", method, compresslevel=_LEVEL) as archive:
            with archive.open("depth.npy", "w", force_zip64=True) as target, self._npy.open("rb") as depth:
                while block := depth.read(_BLOCK):
                    target.write(block)
                    self.moves()
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
            file.truncate(_NPY_HEADER_BYTES + 4 * self.frames * self.facts.info.height * self.facts.info.width)
            file.write(self._header())
        return renamed(self._npy, self.path.with_name(f"{self.path.stem}.partial.npy"))

    def _header(self) -> bytes:
        return npy_header(self.frames, self.facts.info.height, self.facts.info.width)


def npy_header(frames: int, height: int, width: int) -> bytes:
    """The header of a `.npy` file of float32 `[frames, height, width]`: 128 bytes whatever the count, so that it can be
    written over in place."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(frames, height, width)}, }}"
    body = text.ljust(_NPY_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode()
