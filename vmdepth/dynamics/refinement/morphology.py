"""Masks without holes, and larger by some pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def closed_and_grown(moves: NDArray[np.bool_], close: int, grow: int) -> NDArray[np.bool_]:
    """A mask [H, W], closed by an ellipse `close` pixels wide, then dilated by a square `grow` wide.

    0 and 1 do nothing.
    """
    mask = moves.astype(np.uint8)
    if close:
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (close, close))
        cv2.morphologyEx(mask, cv2.MORPH_CLOSE, ellipse, dst=mask)
    if grow:
        cv2.dilate(mask, np.ones((grow, grow), np.uint8), dst=mask)
    return mask > 0
