"""From a decoded PyAV frame to an upright RGB array."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

# `frame.rotation` is counter-clockwise degrees: how far the stored picture has to be turned to stand upright.
_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    -90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    -180: cv2.ROTATE_180,
}


class RgbConverter:
    """Converts the frames of one source. It is kept: setting one up for each frame costs as much as using it."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, *, turn: bool = True) -> NDArray[np.uint8]:
        """Convert a frame of any pixel format, gray to three equal channels.

        Args:
            frame: as decoded.
            turn: turn it upright, as the file says; else it is left as it is stored.

        Returns:
            uint8 `[H, W, 3]` RGB, contiguous.
        """
        image = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        how = _TURNS.get(round(frame.rotation)) if turn else None
        upright = image if how is None else cv2.rotate(image, how)
        return np.ascontiguousarray(upright, np.uint8)  # drops row padding, where the width made some necessary
