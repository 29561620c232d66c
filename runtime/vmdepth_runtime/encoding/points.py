"""Depth as coloured points, and points as a PLY file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.camera.rays import rays
from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.outputs import DYNAMIC, DYNAMIC_THRESHOLD, SKY_THRESHOLD

RELATIVE_RANGE = 20.0
"""Times as far as what is nearest: beyond it relative depth is too near zero to mean a distance."""

_JUMP_WINDOW = 150  # the longer side of a map has so many windows in which depth may not jump


class PointCloud(NamedTuple):
    """Points as the camera sees them.

    Attributes:
        points: float32 `[N, 3]`: x right, y down, z forward.
        colours: uint8 `[N, 3]` RGB.
    """

    points: NDArray[np.float32]
    colours: NDArray[np.uint8]


def back_project(
    depth: NDArray[np.float32],
    image: NDArray[np.uint8],
    camera: PinholeCamera,
    near: float | None,
    settings: CloudSettings,
    outputs: Mapping[str, NDArray[np.float32]] | None = None,
    distortion: Distortion | None = None,
) -> PointCloud:
    """The points of a depth map.

    Args:
        depth: float32 `[H, W]`; what is not above 0 and finite has no point.
        image: uint8 `[H, W, 3]` RGB.
        camera: of the image.
        near: of inverse depth, the one that becomes z = 1; None where depth is z itself, in whatever unit.
        settings: which points are wanted.
        outputs: `confidence`, `sky` and `dynamic`, float32 `[h, w]` of any size, of networks that give them: what is
            sky, where they are least sure, and what moves by itself has no point.
        distortion: how the image's camera bends lines, which is undone; None: not at all.

    Returns:
        The points, row by row; in metres for metric depth.

    Raises:
        InputError: sky is to have points, and depth that is z itself no `max_range`.
    """
    settings.check_range(inverse=near is not None)
    farthest = settings.max_range or (math.inf if near is None else RELATIVE_RANGE)
    if settings.sky:
        depth = _with_sky(depth, near, farthest, (outputs or {}).get("sky"))
        farthest = math.inf
    height, width = depth.shape
    there = np.isfinite(depth) & (depth > 0)
    if settings.max_jump:
        there &= ~_jumps(np.where(there, depth, 0), settings.max_jump)
    for doubtful in _doubtful(outputs or {}, settings):
        there &= ~_of_size(doubtful, height, width)
    step = every(depth.size, settings.max_points)
    # From the middle of each block of pixels, so that the whole does not shift.
    rows, columns = (range(step // 2, size, step) for size in (height, width))
    grid = np.ix_(rows, columns)
    kept, there = depth[grid], there[grid]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = kept if near is None else np.float32(near) / kept
    along_x, along_y = rays(camera, distortion, rows, columns)
    there &= (z < farthest) & np.isfinite(along_x)
    z = z[there]
    x, y = (z * np.broadcast_to(along, there.shape)[there] for along in (along_x, along_y))
    return PointCloud(np.stack([x, y, z], axis=1), image[grid][there])


def every(pixels: int, most: int) -> int:
    """Each how many pixels of a row, and each how many rows, a cloud of a map of so many pixels takes. most: points."""
    return max(1, math.ceil(math.sqrt(pixels / most)))


def near_of(depth: NDArray[np.float32]) -> float | None:
    """The depth that becomes z = 1 where no other is given: the 99th percentile, which no single hot pixel moves. None
    where there is no depth."""
    values = depth[np.isfinite(depth) & (depth > 0)]
    return float(np.percentile(values, 99)) if values.size else None


def near_for(kind: DepthKind, depth: NDArray[np.float32]) -> float | None:
    """`near` of `back_project` for one depth map of a kind."""
    return (near_of(depth) or 1.0) if kind.inverse else None


def ply(cloud: PointCloud) -> bytes:
    """A binary PLY file of coloured points."""
    names = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertices = np.empty(len(cloud.points), names)
    for column, (name, _) in enumerate(names):
        vertices[name] = (cloud.points if column < 3 else cloud.colours)[:, column % 3]
    kinds = {"<f4": "float", "u1": "uchar"}
    properties = "".join(f"property {kinds[kind]} {name}\n" for name, kind in names)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n{properties}end_header\n"
    return header.encode() + vertices.tobytes()


def _with_sky(
    depth: NDArray[np.float32], near: float | None, farthest: float, sky: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Depth in which nothing is farther than that, and sky just so far; inverse depth of 0 and below is very far."""
    limit = np.float32(farthest if near is None else near / farthest)
    limited = np.minimum(depth, limit) if near is None else np.maximum(depth, limit)
    if sky is not None:
        limited[_of_size(sky >= SKY_THRESHOLD, *depth.shape) & ~np.isnan(depth)] = limit
    return limited


def _of_size(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    return cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).view(np.bool_)


def _doubtful(outputs: Mapping[str, NDArray[np.float32]], settings: CloudSettings) -> list[NDArray[np.bool_]]:
    """Masks `[h, w]` of pixels that are sky, unless that is wanted, of those that the network is least sure of among
    the others, and of those that move."""
    masks = []
    sky = outputs.get("sky")
    ground = None if sky is None else sky < SKY_THRESHOLD
    if ground is not None and not settings.sky:
        masks.append(~ground)
    confidence = outputs.get("confidence")
    if confidence is not None and settings.confidence_percentile > 0:
        judged = ground if ground is not None and ground.shape == confidence.shape else np.ones(confidence.shape, bool)
        if judged.any():
            masks.append(judged & (confidence < np.percentile(confidence[judged], settings.confidence_percentile)))
    dynamic = outputs.get(DYNAMIC)
    if dynamic is not None:
        masks.append(dynamic >= DYNAMIC_THRESHOLD)
    return masks


def _jumps(depth: NDArray[np.float32], limit: float) -> NDArray[np.bool_]:
    """Where the farthest depth within a window is beyond the nearest by more than a share. depth: 0 where there is
    none. The share is the same for depth and for its inverse."""
    side = max(3, max(depth.shape) // _JUMP_WINDOW | 1)
    window = np.ones((side, side), np.uint8)
    largest = cv2.dilate(depth, window)
    smallest = cv2.erode(np.where(depth > 0, depth, np.float32(np.inf)), window)
    return np.asarray(largest / (1 + limit) > smallest)
