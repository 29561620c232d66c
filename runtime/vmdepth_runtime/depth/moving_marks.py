"""Marks of what moves, in pictures of depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.resize import DepthResizer
from vmdepth_runtime.outputs import DYNAMIC_THRESHOLD

_LIGHT, _DARK = 255, 0  # gray levels of a line
_ROWS_PER_PIXEL = 300  # of the picture, to a pixel of a line's width
_SPACING = 20  # widths of a line from one stroke of the hatching to the next


class MovingMarks:
    """Outlines and hatches what moves, in pictures of one size; nine tenths of the depth below stay in sight.

    Every line is light with dark beside it, one of which is seen on any colour of any palette. The hatching tells the
    inside of a ragged outline from its outside. The outline goes along the picture's edge where that cuts through what
    moves, or a picture that moves as a whole would have none.

    Args:
        height: of the pictures, pixels.
        width: likewise.
        resize: how the frames came to the model's size, which is undone.
    """

    def __init__(self, height: int, width: int, resize: Resize = "area") -> None:
        self._bring_back = DepthResizer(resize)
        self._soft = np.empty((height, width), np.float32)
        self._masks = tuple(np.empty((height, width), np.uint8) for _ in range(4))
        line = max(1, round(min(height, width) / _ROWS_PER_PIXEL))
        self._reach = np.ones((2 * line + 1, 2 * line + 1), np.uint8)
        place = np.add.outer(np.arange(height), np.arange(width)) // line % _SPACING
        self._strokes = {level: (place == number).view(np.uint8) for number, level in enumerate((_DARK, _LIGHT))}
        self._inks = {level: np.full((height, width, 3), level, np.uint8) for level in self._strokes}
        self._drawn = np.empty((height, width), np.uint8)

    def draw(self, picture: NDArray[np.uint8], dynamic: NDArray[np.float32]) -> None:
        """Mark what moves in a picture.

        Args:
            picture: uint8 `[height, width, 3]`, changed in place; rows may be strided.
            dynamic: float32 `[h, w]` of the model's size, 0..1: the network's output of that name.
        """
        self._bring_back(dynamic, self._soft)
        inside, around, within, deep = self._masks
        np.greater_equal(self._soft, DYNAMIC_THRESHOLD, out=inside.view(bool))
        if not inside.any():
            return
        cv2.dilate(inside, self._reach, dst=around)
        for mask, smaller in ((inside, within), (within, deep)):
            cv2.erode(mask, self._reach, dst=smaller, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        for level, stroke in self._strokes.items():
            cv2.copyTo(self._inks[level], cv2.bitwise_and(deep, stroke, dst=self._drawn), picture)
        for level, outer, inner in ((_DARK, around, deep), (_LIGHT, inside, within)):
            cv2.copyTo(self._inks[level], cv2.bitwise_xor(outer, inner, dst=self._drawn), picture)
