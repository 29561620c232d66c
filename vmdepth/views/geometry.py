"""Cameras and points in NumPy, float64.

Extrinsics are world to camera, [..., 3, 4]; x right, y down, z forward. Intrinsics [..., 3, 3] are in pixels and count
from the outer corner of the first one, whose centre is at (0.5, 0.5), as the networks and COLMAP do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.pinhole import PinholeCamera

Floats = NDArray[np.float64]


def matrix_of(camera: PinholeCamera) -> Floats:
    """Intrinsics [3, 3] of a camera of the runtime, which counts pixels from the middle of the first one."""
    return np.array([[camera.fx, 0, camera.cx + 0.5], [0, camera.fy, camera.cy + 0.5], [0, 0, 1.0]])


def pinhole_of(matrix: Floats) -> PinholeCamera:
    """The runtime's camera of intrinsics [3, 3]."""
    return PinholeCamera(*(float(v) for v in (matrix[0, 0], matrix[1, 1], matrix[0, 2] - 0.5, matrix[1, 2] - 0.5)))


def inverse(pose: Floats) -> Floats:
    """The inverse of rigid motions [..., 3 or 4, 4], as [..., 3, 4]."""
    back = np.swapaxes(pose[..., :3, :3], -2, -1)
    return np.concatenate([back, -back @ pose[..., :3, 3:]], axis=-1)


def centres(extrinsics: Floats) -> Floats:
    """Where cameras stand: [..., 3]."""
    return inverse(extrinsics)[..., 3]


def world_points(
    depth: NDArray[np.floating],
    intrinsics: Floats,
    extrinsics: Floats,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> Floats:
    """The points [K, 3] in the world that one view's depth [H, W] has at K pixels."""
    z = depth[rows, columns].astype(np.float64)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    seen = (np.linalg.inv(intrinsics) @ pixels) * z
    to_world = inverse(extrinsics)
    return (to_world[:, :3] @ seen + to_world[:, 3:]).T


def rotation_of(quaternion: Floats) -> Floats:
    """Quaternions w x y z [..., 4], of any length but 0 → rotations [..., 3, 3]."""
    w, x, y, z = np.moveaxis(quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_of(rotation: Floats) -> Floats:
    """A rotation [3, 3] → its unit quaternion w x y z [4] with w ≥ 0.

    It is the eigenvector of the largest eigenvalue of a symmetric matrix made of the rotation (Bar-Itzhack 2000), which
    holds for every angle.
    """
    m = rotation
    products = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    unit = np.linalg.eigh(products)[1][:, -1]
    return -unit if unit[0] < 0 else unit


def nearest_rotation(matrix: Floats) -> Floats:
    """The rotation [..., 3, 3] that is nearest to a matrix."""
    left, _, right = np.linalg.svd(matrix)
    sign = np.ones((*matrix.shape[:-2], 3))
    sign[..., 2] = np.sign(np.linalg.det(left @ right))
    return (left * sign[..., None, :]) @ right
