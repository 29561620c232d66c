"""Where the pixels of a camera look, and where what it looks at is in its frames."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera

# Of OpenCV 4 undistortPoints stops after five rounds, and another function does not; in 5 they are one.
_undistort: Any = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
_UNTIL = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-6)
_OFF = 0.1  # pixels by which a ray may miss its own pixel; others are none
_STEEPEST = np.tan(np.radians(85))  # beyond it z, which is what networks say, hardly tells where a point is


def rays(
    camera: PinholeCamera, distortion: Distortion | None, rows: range, columns: range
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The ray of every pixel of a grid: x / z and y / z along it.

    Args:
        camera: of the frames.
        distortion: how it bends lines; None: not at all.
        rows: of the frame that are wanted.
        columns: likewise.

    Returns:
        x / z float32 `[1 or R, C]` and y / z `[R, 1 or C]`; NaN where a pixel has no ray: of a fisheye beyond 85
        degrees, and farther than pi / 2 focal lengths from its principal point, where OpenCV's inverse ends; and where
        the model of its distortion folds back.
    """
    if distortion is None:
        x = ((np.asarray(columns) - camera.cx) / camera.fx).astype(np.float32)
        y = ((np.asarray(rows) - camera.cy) / camera.fy).astype(np.float32)
        return x[None], y[:, None]
    return _bent_rays(camera, distortion, rows, columns)


@lru_cache(maxsize=8)  # as many cameras as robots have at once
def _bent_rays(
    camera: PinholeCamera, distortion: Distortion, rows: range, columns: range
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Made once for all frames of a camera: it takes long."""
    pixels = np.stack(np.meshgrid(np.asarray(columns, np.float64), np.asarray(rows, np.float64)), axis=-1)
    flat = pixels.reshape(-1, 1, 2)
    undistort = cv2.fisheye.undistortPoints if distortion.model == "equidistant" else _undistort
    found = undistort(flat, matrix(camera), np.array(distortion.coefficients), R=None, P=None, criteria=_UNTIL)
    directions = np.asarray(found).reshape(pixels.shape)
    missed = np.hypot(*np.moveaxis(places_of(camera, distortion, directions) - pixels, -1, 0))
    directions[~((missed < _OFF) & (np.abs(directions).max(axis=-1) < _STEEPEST))] = np.nan
    x, y = np.moveaxis(directions.astype(np.float32), -1, 0)
    for array in (x, y):
        array.flags.writeable = False  # whoever asks next gets the same
    return x, y


def places_of(camera: PinholeCamera, distortion: Distortion, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a camera that bends lines has what lies on rays.

    directions: float64 `[..., 2]`, x / z and y / z. Returns float64 `[..., 2]`: column and row.
    """
    flat = np.ascontiguousarray(directions, np.float64).reshape(-1, 1, 2)
    coefficients = np.array(distortion.coefficients)
    if distortion.model == "equidistant":
        places = cv2.fisheye.distortPoints(flat, matrix(camera), coefficients)
    else:
        ahead = np.concatenate([flat, np.ones((len(flat), 1, 1))], axis=-1)
        places = cv2.projectPoints(ahead, np.zeros(3), np.zeros(3), matrix(camera), coefficients)[0]
    return np.asarray(places, np.float64).reshape(directions.shape)


def matrix(camera: PinholeCamera) -> NDArray[np.float64]:
    """`[3, 3]`, as OpenCV takes it."""
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
