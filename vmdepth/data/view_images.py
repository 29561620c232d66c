"""Pictures as the networks of Depth Anything 3 want them: the official preparation, step by step on uint8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from vmdepth.networks.encoder import PATCH

Method = Literal["upper_bound_resize", "upper_bound_crop", "lower_bound_resize", "lower_bound_crop"]


def prepare_views(
    images: Sequence[np.ndarray],
    size: int = 504,
    method: Method = "upper_bound_resize",
    intrinsics: Sequence[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB pictures uint8 [h, w, 3] → clip float32 [N, 3, H, W] in 0..1, and their intrinsics float32 [N, 3, 3].

    size: pixels of the longer side ("upper_bound") or the shorter ("lower_bound") before both sides become multiples
    of 14, by resizing or by cropping at the centre. Pictures that then differ in size are cropped to the smallest, at
    their centres. intrinsics: one [3, 3] per picture, in its pixels. Raises ValueError for an unknown method, or sizes
    that leave nothing.
    """
    if method not in get_args(Method):
        raise ValueError(f"method '{method}': there are {', '.join(get_args(Method))}")
    if size < PATCH:
        raise ValueError(f"size {size}: it is {PATCH} at least")
    cameras = [None] * len(images) if intrinsics is None else list(intrinsics)
    prepared = [_prepare(image, size, method, camera) for image, camera in zip(images, cameras, strict=True)]
    height, width = (min(image.shape[axis] for image, _ in prepared) for axis in (0, 1))
    cropped = [_crop(image, height, width, camera) for image, camera in prepared]
    clip = np.stack([image.transpose(2, 0, 1) for image, _ in cropped]).astype(np.float32) / np.float32(255)
    matrices = [camera.astype(np.float32) for _, camera in cropped if camera is not None]
    return clip, np.stack(matrices) if matrices else None


def _prepare(
    image: np.ndarray, size: int, method: Method, camera: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
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
    down, across = (max(PATCH, (side + PATCH // 2) // PATCH * PATCH) for side in (rows, columns))
    return _resize(image, down, across, down > rows or across > columns, camera)


def _resize(
    image: np.ndarray, rows: int, columns: int, enlarge: bool, camera: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    import cv2

    height, width = image.shape[:2]
    if (rows, columns) == (height, width):
        return image, camera
    image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_CUBIC if enlarge else cv2.INTER_AREA)
    if camera is not None:
        camera = camera.astype(np.float64)
        camera[0] *= columns / width
        camera[1] *= rows / height
    return image, camera


def _crop(
    image: np.ndarray, rows: int, columns: int, camera: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    if camera is not None:
        camera = camera.astype(np.float64)
        camera[:2, 2] -= left, top
    return image[top : top + rows, left : left + columns], camera
