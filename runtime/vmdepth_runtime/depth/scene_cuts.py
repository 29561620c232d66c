"""Where a film goes over to another scene from one frame to the next, so that nothing of the old one is remembered.

A cut changes three things at once: where light and dark are in the picture, which colours it has, and what the network
takes it for (its descriptor). Each alone also changes without one: the first when the camera moves fast, the second
with exposure and flashes, the third a little with both. So it takes all three.

Where the limits come from: in five videos of 15 to 50 frames a second (a street at night, a roller coaster, a robot,
rooms) no two neighbours are beyond all three, also with one to three frames left out between them; and with gains of
0.3 to 2.5, or a flash, on one of the two the first is kept by far. Of 1,092 pairs of frames from fourteen different
recordings 96 % are beyond them; all that are not but one are views of cars' cameras in like streets. A camera that
gives four frames a second and turns fast may show another view altogether, which is taken for a cut. What goes over
slowly (a dissolve) is none; what goes through black or white is one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_SMALL = (32, 24)  # width and height of the picture in which light and dark are compared
_BLANK = 2.0  # standard deviation of that, of 255, below which there is nothing to see: black, white, fog
_LAYOUT = 0.55  # correlation below which light and dark are elsewhere
_COLOURS = 0.35  # Hellinger distance from which two histograms have other colours, 0..1
_BINS = 8  # of each of red, green and blue
_PIXELS = 10_000  # that the histogram is made of, at least where there are as many


class _Look(NamedTuple):
    """What is remembered of a frame."""

    layout: NDArray[np.float32]  # of mean 0 and length 1
    pixels: NDArray[np.uint8]  # [h, w, 3], some of them
    descriptor: NDArray[np.float32]


class CutDetector:
    """Looks at one stream of frames.

    Args:
        similarity: cosine of descriptors from which two frames show one place (`KeyframeDefaults.similarity`).
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._before: _Look | None = None

    def cuts(self, frame: NDArray[np.uint8], descriptor: NDArray[np.float32]) -> bool:
        """Note the next frame; whether a new scene begins with it.

        It is compared with the latest frame on which there was something to see.

        Args:
            frame: uint8 `[h, w, 3]` RGB, at the model's size.
            descriptor: float32 `[D]`, unit length; a frame for which it is not finite is not looked at.
        """
        grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), _SMALL, interpolation=cv2.INTER_AREA)
        layout = grey.astype(np.float32) - np.float32(grey.mean())
        length = float(np.linalg.norm(layout))
        if length < _BLANK * math.sqrt(layout.size) or not np.isfinite(descriptor.sum()):
            return False
        stride = max(1, math.isqrt(frame.shape[0] * frame.shape[1] // _PIXELS))
        now = _Look(layout / np.float32(length), frame[::stride, ::stride].copy(), descriptor.copy())
        before, self._before = self._before, now
        if before is None:
            return False
        return bool(
            float(np.vdot(before.layout, now.layout)) < _LAYOUT
            and float(before.descriptor @ now.descriptor) < self._similarity
            and _distance(before.pixels, now.pixels) > _COLOURS
        )

    def restart(self) -> None:
        """The next frame is known not to continue the ones before."""
        self._before = None


def _distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Hellinger distance of the histograms of two pictures' colours, 0..1 (0: the same colours; 1: none in common)."""
    common = float(np.sqrt(_histogram(one) * _histogram(other)).sum())
    return math.sqrt(max(0.0, 1.0 - common))


def _histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = cv2.calcHist([pixels], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    return np.asarray(counts / (pixels.shape[0] * pixels.shape[1]), np.float32)
