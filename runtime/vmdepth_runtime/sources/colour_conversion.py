"""From a decoded PyAV frame to an upright RGB array."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.sources.footage.pixel_aspect import PixelAspect
from vmdepth_runtime.sources.footage.tone_mapping import NAMES, ToneMapper

# `frame.rotation` is counter-clockwise degrees: how far the stored picture has to be turned to stand upright.
_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    -90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    -180: cv2.ROTATE_180,
}


class RgbConverter:
    """Converts the frames of one source. It is kept: setting one up for each frame costs as much as using it.

    Args:
        stream: that the frames are of; its pixels become square. None: they are taken to be.
        notes: gets a line, once, for each thing that is done to frames beyond their matrix and range.
    """

    def __init__(self, stream: VideoStream | None = None, notes: list[str] | None = None) -> None:
        self._reformatter = VideoReformatter()
        self._tone_mapper = ToneMapper()
        self._aspect = None if stream is None else PixelAspect(stream)
        self._notes = [] if notes is None else notes

    def __call__(self, frame: av.VideoFrame, *, turn: bool = True) -> NDArray[np.uint8]:
        """Convert a frame of any pixel format, gray to three equal channels.

        Its matrix (BT.601, 709 or 2020) and range (limited or full) are what it says; a frame that says nothing is
        taken for BT.601 and limited, as FFmpeg does. PQ and HLG are brought to ordinary range and primaries.

        Args:
            frame: as decoded, and whole.
            turn: turn it upright, as the file says; else it is left as it is stored.

        Returns:
            uint8 `[H, W, 3]` RGB, contiguous.
        """
        stored = width, height = frame.width, frame.height
        if self._aspect is not None:
            width, height = self._aspect.square(*stored)
        if (width, height) != stored:
            self._note(f"pixels are not square: {stored[0]}x{stored[1]} stretched to {width}x{height}")
        ordinary = frame
        if frame.color_trc in NAMES:
            self._note(f"HDR ({NAMES[frame.color_trc]}): tone-mapped")
            ordinary = self._tone_mapper(frame)
        image = self._reformatter.reformat(ordinary, width=width, height=height, format="rgb24").to_ndarray()
        how = _TURNS.get(round(frame.rotation)) if turn else None
        upright = image if how is None else cv2.rotate(image, how)
        return np.ascontiguousarray(upright, np.uint8)  # drops row padding, where the width made some necessary

    def _note(self, line: str) -> None:
        if line not in self._notes:
            self._notes.append(line)
