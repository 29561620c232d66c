"""A frame to the model's size, and its depth back to the frame's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import Resize


def resize_frame(frame: NDArray[np.uint8], out: NDArray[np.uint8], resize: Resize) -> None:
    """A frame uint8 [H, W, 3] into `out`, a session's input buffer [h, w, 3], each axis on its own.

    That is the contract's "stretch".
    """
    if resize == "cubic":
        interpolation = cv2.INTER_CUBIC
    else:
        shrinks = frame.shape[0] >= out.shape[0] and frame.shape[1] >= out.shape[1]
        # Area averages away what a smaller picture cannot show; growing, it would repeat pixels.
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.resize(frame, out.shape[1::-1], dst=out, interpolation=interpolation)


class DepthResizer:
    """Depth float32 [h, w] of a model → [H, W] of its frames, bilinear, into the array that is given.

    resize: how the frames came to the model's size. Depth goes back along the same centres of pixels; after "cubic" it
    goes corner on corner, as Depth Anything brings its depth back.
    """

    def __init__(self, resize: Resize) -> None:
        self._resize = resize
        self._maps: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def __call__(self, depth: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        (height, width), (low_height, low_width) = out.shape, depth.shape
        if self._resize != "cubic":
            cv2.resize(depth, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
            return
        if self._maps is None or self._maps[0].shape != out.shape:
            across, down = np.linspace(0, low_width - 1, width), np.linspace(0, low_height - 1, height)
            self._maps = tuple(m.astype(np.float32) for m in np.meshgrid(across, down))  # type: ignore[assignment]  # two
        assert self._maps is not None
        cv2.remap(depth, *self._maps, interpolation=cv2.INTER_LINEAR, dst=out)
