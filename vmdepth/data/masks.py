"""Masks of what moves by itself, beside footage: as `vmdepth-masks` writes them, or anyone else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.listing import IMAGE_ENDINGS, natural

MOVING = "moving"
"""The folder of them, beside that of the pictures."""

_MOVES = 128  # gray level from which a pixel does: masks are 0 and 255
_SHAPE = 0.05  # share by which sides may be in another ratio than the picture's: networks take multiples of 14 pixels


class MaskFolder:
    """One mask for each of a number of pictures, in the order of their names, at any resolution.

    Where there are files named `mask_*`, as `vmdepth-masks` names them, the others beside them are none.

    Args:
        path: the folder.
        count: how many pictures there are.

    Raises:
        InputError: another number of masks, with the folder's name.
    """

    def __init__(self, path: Path, count: int) -> None:
        names = sorted((f.name for f in path.iterdir() if f.suffix.lower() in IMAGE_ENDINGS), key=natural)
        names = [name for name in names if name.startswith("mask_")] or names
        if len(names) != count:
            raise InputError(f"{path}: {len(names)} masks for {count} pictures; each needs one, 255 where it moves")
        self._files = [path / name for name in names]

    def read(self, number: int, height: int, width: int) -> NDArray[np.bool_]:
        """What moves in a picture.

        Args:
            number: of the picture, from 0.
            height: of the picture, pixels.
            width: likewise.

        Returns:
            bool `[height, width]`.

        Raises:
            InputError: the file cannot be read, or its shape is another than the picture's.
        """
        path = self._files[number]
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise InputError(f"{path}: cannot be read as an image")
        rows, columns = mask.shape
        if abs(rows * width / (columns * height) - 1) > _SHAPE:
            raise InputError(
                f"{path}: is {columns}x{rows} and its picture {width}x{height}: a mask of other frames; make it anew"
            )
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(resized >= _MOVES)


def masks_beside(pictures: Path, count: int) -> MaskFolder | None:
    """The masks beside a folder of pictures; None where there are none. Raises InputError for another number."""
    folder = pictures.parent / MOVING
    return MaskFolder(folder, count) if folder.is_dir() else None
