"""Where things go from one picture to the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def optical_flow(image: NDArray[np.uint8], next_image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Flow float32 [H, W, 2], pixels (x, y), from picture to picture, uint8 [H, W, 3] RGB (DIS, Kroeger et al. 2016).

    Pictures below 16 pixels a side are too small for its patches: there the flow is 0.
    """
    if min(image.shape[:2]) < 16:
        return np.zeros((*image.shape[:2], 2), np.float32)
    grey, next_grey = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (image, next_image))
    flow = np.zeros((*image.shape[:2], 2), np.float32)
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey, next_grey, flow)  # type: ignore[return-value]
