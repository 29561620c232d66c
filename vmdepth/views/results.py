"""What is known of every view, on disk: memory holds one view of it at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vmdepth.views.geometry import Floats
from vmdepth.views.windows import View

_SAMPLES = 4000  # pixels of a view that stand for all of them where percentiles are taken


class Results:
    """Views of one size, written in their order and read back one by one.

    Attributes:
        arrays: names of what is known of every view: depth, and confidence and sky where a network tells them.
        cameras: extrinsics [3, 4] of every view; empty where nobody knows them.
        intrinsics: [3, 3] of every view, in pixels of the depth; likewise.
        samples: of every view, values of the arrays at some pixels: [K, arrays].
    """

    def __init__(self, folder: Path) -> None:
        self.arrays: list[str] = []
        self.cameras: list[Floats] = []
        self.intrinsics: list[Floats] = []
        self.samples: list[NDArray[np.float32]] = []
        self.size = (0, 0)
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}

    def add(self, view: View) -> None:
        """Take the next view."""
        known = {"depth": view.depth, "confidence": view.confidence, "sky": view.sky}
        there = {name: array for name, array in known.items() if array is not None}
        if not self.arrays:
            self.arrays, self.size = list(there), (view.depth.shape[0], view.depth.shape[1])
            self._files = {name: self._raw(name).open("w+b") for name in self.arrays}
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(there[name], "<f4").data)
        step = max(1, view.depth.size // _SAMPLES)
        self.samples.append(np.stack([there[name].ravel()[::step] for name in self.arrays], axis=1))
        if view.extrinsics is not None:
            self.cameras.append(view.extrinsics)
        if view.intrinsics is not None:
            self.intrinsics.append(view.intrinsics)

    def __len__(self) -> int:
        return len(self.samples)

    def of(self, name: str, place: int) -> NDArray[np.float32] | None:
        """One of the arrays of one view, [H, W]; None where the network does not tell it."""
        if name not in self._files:
            return None
        file, count = self._files[name], self.size[0] * self.size[1]
        file.flush()
        return np.fromfile(self._raw(name), "<f4", count, offset=4 * count * place).reshape(self.size)

    def sampled(self, name: str) -> NDArray[np.float32] | None:
        """One of the arrays at some pixels of all views, flat."""
        if name not in self.arrays:
            return None
        return np.concatenate([sample[:, self.arrays.index(name)] for sample in self.samples])

    def pack(self, path: Path, images: Sequence[NDArray[np.uint8]], **others: NDArray[np.generic]) -> None:
        """Write all arrays, [N, H, W] each, `image` [N, H, W, 3] and others into one `.npz`, and remove the files."""
        with zipfile.ZipFile(path, "w") as archive:
            for name in self.arrays:
                _stream(archive, name, (self.of(name, place) for place in range(len(self))), len(self))
            _stream(archive, "image", images, len(images))
            for name, values in others.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
                    np.lib.format.write_array(target, np.asanyarray(values), allow_pickle=False)
        self.close()

    def close(self) -> None:
        """Remove the files."""
        for name, file in self._files.items():
            file.close()
            self._raw(name).unlink(missing_ok=True)
        self._files = {}

    def _raw(self, name: str) -> Path:
        return self._folder / f".{name}.raw"


def _stream(archive: zipfile.ZipFile, name: str, arrays: Iterable[NDArray[Any] | None], count: int) -> None:
    """Write `count` arrays that are alike as one, with one of them in memory."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
        for place, array in enumerate(arrays):
            assert array is not None
            if place == 0:
                shape = (count, *array.shape)
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(target, header)
            target.write(np.ascontiguousarray(array).data)
