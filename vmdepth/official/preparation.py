"""How Depth Anything V2 and Video Depth Anything prepare a picture, to the last digit."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.networks.encoder import PATCH

_VIDEO_ASPECT = 1.78  # wider or taller than this, a video is made smaller, to cost no more than 16:9


def network_size(height: int, width: int, size: int = 518) -> tuple[int, int]:
    """Height and width, multiples of 14, of what the network sees of a height × width picture.

    The shorter side becomes `size`, the longer keeps the aspect; each is rounded to the nearest multiple of 14 (halves
    to the even one), or up where that would fall below `size`.
    """
    scale = max(size / height, size / width)

    def rounded(side: float) -> int:
        nearest = int(np.round(side / PATCH)) * PATCH
        return nearest if nearest >= size else math.ceil(side / PATCH) * PATCH

    return rounded(scale * height), rounded(scale * width)


def video_size(height: int, width: int, size: int = 518) -> tuple[int, int]:
    """The same for Video Depth Anything, which reduces `size` for pictures wider or taller than 16:9."""
    aspect = max(height, width) / min(height, width)
    if aspect > _VIDEO_ASPECT:
        size = round(int(size * 1.777 / aspect) / PATCH) * PATCH
    return network_size(height, width, size)


def prepare_still(image: NDArray[np.uint8], size: int = 518) -> NDArray[np.float32]:
    """image uint8 [H, W, 3] RGB → float32 [h, w, 3], about 0..1, as Depth Anything V2 has it before normalising.

    Cubic resizing without anti-aliasing, in float64; values may lie a little outside of 0..1.
    """
    height, width = network_size(image.shape[0], image.shape[1], size)
    return cv2.resize(image / 255.0, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def prepare_frame(image: NDArray[np.uint8], size: int = 518) -> NDArray[np.float32]:
    """The same as Video Depth Anything has it: its own size, resized in float32."""
    height, width = video_size(image.shape[0], image.shape[1], size)
    return cv2.resize(image.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]  # OpenCV keeps the dtype


def depth_at(depth: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Depth [h, w] at another size: bilinear, corners on corners, as both networks give it back."""
    import torch
    import torch.nn.functional as F

    if depth.shape == (height, width):
        return depth
    image = torch.from_numpy(depth)[None, None]
    return F.interpolate(image, (height, width), mode="bilinear", align_corners=True)[0, 0].numpy()
