"""How the official code of each family prepares pictures.

`prepare_still` is Depth Anything V2's way, `prepare_frame` Video Depth Anything's, `prepare_views` Depth Anything 3's.
The first two resize floats, by the shorter side; the third works on uint8 at every step, and takes cameras along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.networks.encoder import PATCH

Picture = NDArray[np.uint8]
Camera = NDArray[np.floating]
ResizeMethod = Literal["upper_bound_resize", "upper_bound_crop", "lower_bound_resize", "lower_bound_crop"]

_VIDEO_ASPECT = 1.78  # wider or taller than this, a video is made smaller, to cost no more than 16:9


def network_size(height: int, width: int, size: int = 518) -> tuple[int, int]:
    """What Depth Anything V2 sees of a picture: the shorter side becomes `size`, the longer keeps the aspect.

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        size: of the shorter side before rounding, pixels.

    Returns:
        Height and width, each rounded to the nearest multiple of 14 (halves to the even one), or up where that would
        fall below `size`.
    """
    scale = max(size / height, size / width)

    def rounded(side: float) -> int:
        nearest = int(np.round(side / PATCH)) * PATCH
        return nearest if nearest >= size else math.ceil(side / PATCH) * PATCH

    return rounded(scale * height), rounded(scale * width)


def video_size(height: int, width: int, size: int = 518) -> tuple[int, int]:
    """`network_size` for Video Depth Anything, which reduces `size` for pictures wider or taller than 16:9."""
    aspect = max(height, width) / min(height, width)
    if aspect > _VIDEO_ASPECT:
        size = round(int(size * 1.777 / aspect) / PATCH) * PATCH
    return network_size(height, width, size)


def prepare_still(image: Picture, size: int = 518) -> NDArray[np.float32]:
    """A picture as Depth Anything V2 has it before normalising: resized in float64, cubic, without anti-aliasing.

    Args:
        image: uint8 [H, W, 3], RGB.
        size: of the shorter side, pixels; see `network_size`.

    Returns:
        float32 [h, w, 3]; values may lie a little outside of 0..1.
    """
    height, width = network_size(image.shape[0], image.shape[1], size)
    return cv2.resize(image / 255.0, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def prepare_frame(image: Picture, size: int = 518) -> NDArray[np.float32]:
    """`prepare_still` for Video Depth Anything: of `video_size`, resized in float32."""
    height, width = video_size(image.shape[0], image.shape[1], size)
    return cv2.resize(image.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]  # OpenCV keeps the dtype


def prepare_views(
    images: Sequence[Picture],
    size: int = 504,
    method: ResizeMethod = "upper_bound_resize",
    intrinsics: Sequence[Camera] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Pictures and their cameras as Depth Anything 3 has them before normalising.

    Both sides become multiples of 14, by resizing or by cropping at the centre. Pictures that then differ in size are
    cropped to the smallest, at their centres.

    Args:
        images: uint8 [h, w, 3] each, RGB, at least one.
        size: pixels of the longer side ("upper_bound") or the shorter ("lower_bound") before they are made to fit.
        method: which side `size` is of, and how pictures are made to fit.
        intrinsics: one [3, 3] per picture, in its pixels.

    Returns:
        The clip, float32 [N, 3, H, W] in 0..1, and its intrinsics, float32 [N, 3, 3]; None where none were given.

    Raises:
        ValueError: an unknown method, or sizes that leave nothing.
    """
    cameras = [None] * len(images) if intrinsics is None else list(intrinsics)
    prepared = [prepare_view(image, size, method, camera) for image, camera in zip(images, cameras, strict=True)]
    cropped = crop_views(prepared)
    matrices = [camera.astype(np.float32) for _, camera in cropped if camera is not None]
    return as_clip([image for image, _ in cropped]), np.stack(matrices) if matrices else None


def crop_views(prepared: Sequence[tuple[Picture, Camera | None]]) -> list[tuple[Picture, Camera | None]]:
    """Pictures and their cameras, cropped at the centre to the smallest height and width among them."""
    height, width = (min(image.shape[axis] for image, _ in prepared) for axis in (0, 1))
    return [_crop(image, height, width, camera) for image, camera in prepared]


def as_clip(images: Sequence[Picture]) -> NDArray[np.float32]:
    """Pictures of one size, uint8 [H, W, 3] each → float32 [N, 3, H, W] in 0..1."""
    return np.stack([image.transpose(2, 0, 1) for image in images]).astype(np.float32) / np.float32(255)


def views_size(height: int, width: int, size: int = 504) -> tuple[int, int]:
    """Height and width that `prepare_views` gives a picture by default: the longer side becomes `size`, and both the
    nearest multiples of 14."""
    scale = size / max(height, width)
    return _fitting(max(1, round(height * scale))), _fitting(max(1, round(width * scale)))


def depth_at(depth: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Depth [h, w] at another size: bilinear, corners on corners, as V2 and Video Depth Anything give it back."""
    import torch
    import torch.nn.functional as F

    if depth.shape == (height, width):
        return depth
    image = torch.from_numpy(depth)[None, None]
    return F.interpolate(image, (height, width), mode="bilinear", align_corners=True)[0, 0].numpy()


def prepare_view(
    image: Picture, size: int, method: ResizeMethod, camera: Camera | None
) -> tuple[Picture, Camera | None]:
    """One of the pictures of `prepare_views` and its camera, before they are cropped to the smallest."""
    if method not in get_args(ResizeMethod):
        raise ValueError(f"method '{method}': there are {', '.join(get_args(ResizeMethod))}")
    if size < PATCH:
        raise ValueError(f"size {size}: it is {PATCH} at least")
    height, width = image.shape[:2]
    scale = size / (max if method.startswith("upper_bound") else min)(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    image, camera = _resize(image, rows, columns, scale > 1, camera)
    if method.endswith("crop"):
        if min(rows, columns) < PATCH:
            raise ValueError(
                f"a picture of {height}x{width} becomes {rows}x{columns}: too narrow to be cropped to {PATCH}"
            )
        return _crop(image, rows // PATCH * PATCH, columns // PATCH * PATCH, camera)
    down, across = _fitting(rows), _fitting(columns)
    return _resize(image, down, across, down > rows or across > columns, camera)


def _fitting(side: int) -> int:
    return max(PATCH, (side + PATCH // 2) // PATCH * PATCH)


def _resize(
    image: Picture, rows: int, columns: int, enlarge: bool, camera: Camera | None
) -> tuple[Picture, Camera | None]:
    height, width = image.shape[:2]
    if (rows, columns) == (height, width):
        return image, camera
    image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_CUBIC if enlarge else cv2.INTER_AREA)  # type: ignore[assignment]  # as above
    if camera is not None:
        camera = camera.astype(np.float64)
        camera[0] *= columns / width
        camera[1] *= rows / height
    return image, camera


def _crop(image: Picture, rows: int, columns: int, camera: Camera | None) -> tuple[Picture, Camera | None]:
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    if camera is not None:
        camera = camera.astype(np.float64)
        camera[:2, 2] -= left, top
    return image[top : top + rows, left : left + columns], camera
