"""Depth of all frames as one NumPy archive."""

from __future__ import annotations

import math
import zipfile
from array import array
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sinks.base import SinkFacts, writing
from vmdepth_runtime.sinks.files import OneFileSink, foretell_size, renamed
from vmdepth_runtime.sources.base import SourceFrame

_NPY_HEADER_BYTES = 128
_LEVEL = 1  # of compression: depth gets no smaller with more, which only takes longer
_EXTRA_DTYPES = {"confidence": "<f2", "sky": "<f2", "pose": "<f4", DYNAMIC: "<f2"}
_BLOCK = 1 << 20  # bytes that go into the archive at once


class NpzSink(OneFileSink):
    """`depth` float32 `[N, H, W]` at the source's size, `times` float64 `[N]` in seconds and `depth_kind`, for
    `np.load`; and what some networks give besides: `confidence`, `sky` and `dynamic` float16 `[N, h, w]` at the
    model's size, so that they stay small, `pose` float32 `[N, 9]`.

    Frames go to disk as they come, in a `.npy` file beside the target; at the end its header gets the count and the
    whole goes into the archive, compressed where the run wants that. Until then the disk holds the depth twice.
    """

    ending = ".npz"
    draws = tuple(_EXTRA_DTYPES)

    @classmethod
    def foretell(cls, target: str, facts: SinkFacts) -> str | None:
        pixels = facts.info.height * facts.info.width
        return foretell_size(target, facts, per_frame=4 * pixels, copies=2, saved="about a sixth")

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self._times = array("d")
        with writing(self.path):
            shape = (facts.info.height, facts.info.width)
            self._depth = _GrowingArray(self._part.with_name(f"{self._part.name}.npy"), shape, "<f4")
        self._extra: dict[str, _GrowingArray] = {}

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        self._depth.append(depth)
        for name, given in self.outputs.items():
            if name not in self._extra:  # only the network knows how large each is
                path = self._part.with_name(f"{self._part.name}.{name}.npy")
                self._extra[name] = _GrowingArray(path, given.shape, _EXTRA_DTYPES[name])
            self._extra[name].append(given)
        self._times.append(frame.time)

    def _finish(self) -> None:
        method = zipfile.ZIP_DEFLATED if self.facts.compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(self._part, "w", method, compresslevel=_LEVEL) as archive:
            for name, growing in {"depth": self._depth, **self._extra}.items():
                growing.finish()
                with archive.open(f"{name}.npy", "w", force_zip64=True) as target, growing.path.open("rb") as written:
                    while block := written.read(_BLOCK):
                        target.write(block)
                        self.moves()
                growing.path.unlink()
            for name, whole in {"times": np.array(self._times), "depth_kind": np.array(self.facts.depth_kind)}.items():
                with archive.open(f"{name}.npy", "w") as target:
                    np.lib.format.write_array(target, whole, version=(1, 0))

    def _drop(self) -> None:
        for growing in (self._depth, *self._extra.values()):
            growing.drop()

    def _salvage(self) -> Path:
        """The depth alone: an archive would need as much room again."""
        self._part.unlink(missing_ok=True)
        for growing in self._extra.values():
            growing.drop()
        self._depth.cut(self.frames)
        return renamed(self._depth.path, self.path.with_name(f"{self.path.stem}.partial.npy"))


class _GrowingArray:
    """A `.npy` file that takes one entry after the other. shape, dtype: of an entry."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.path = path
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._count = 0
        self._file = path.open("wb")
        self._file.write(self._header(0))

    def append(self, entry: NDArray[np.float32]) -> None:
        largest = np.finfo(self._dtype).max  # of half precision, beyond which a number would become infinite
        held = entry if self._dtype == entry.dtype else np.minimum(entry, largest)
        self._file.write(np.ascontiguousarray(held, self._dtype).data)
        self._count += 1

    def finish(self) -> None:
        """The header gets the count."""
        self._file.seek(0)
        self._file.write(self._header(self._count))
        self._file.close()

    def cut(self, count: int) -> None:
        """Keep so many entries, without an error."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError), self.path.open("r+b") as file:
            file.truncate(_NPY_HEADER_BYTES + count * self._dtype.itemsize * math.prod(self._shape))
            file.write(self._header(count))

    def drop(self) -> None:
        """Away with it, without an error."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _header(self, count: int) -> bytes:
        return npy_header(count, *self._shape, dtype=self._dtype.str)


def npy_header(*shape: int, dtype: str = "<f4") -> bytes:
    """The header of a `.npy` file: 128 bytes whatever the count of entries, so that it can be written over in place."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    body = text.ljust(_NPY_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode()
