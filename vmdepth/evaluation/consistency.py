"""How steady depth is from one frame to the next: TAE, OPW, and the flicker of points that stand still."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth.data.rgbd import reproject, splat
from vmdepth.fitting import Map

_OCCLUSION = 50.0  # NVDS's α: how fast an unlike colour takes away a pixel's weight
_SAME_SURFACE = 0.05  # relative: nearer than this to its expected depth a point is taken to be in sight


def sample(values: NDArray[Any], x: Map, y: Map) -> NDArray[np.float64]:
    """An image [H, W] or [H, W, C] at places, bilinear: [...] or [..., C]; NaN outside and beside pixels that are NaN.

    x, y: [...], whole numbers at the centres of pixels; the image ends at the centres of its outermost pixels.
    """
    height, width = values.shape[:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    # OpenCV's remap would round places to 1/32 pixel, which is as much as a still camera's noise.
    left = np.clip(np.floor(np.where(inside, x, 0)).astype(np.intp), 0, max(width - 2, 0))
    top = np.clip(np.floor(np.where(inside, y, 0)).astype(np.intp), 0, max(height - 2, 0))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    more = (...,) + (None,) * (values.ndim - 2)
    across, down = (np.asarray(x - left)[more], np.asarray(y - top)[more])
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return np.where(inside[more], upper * (1 - down) + lower * down, np.nan)


def alignment_error(
    depth: Map,
    next_depth: Map,
    intrinsics: NDArray[np.float64],
    next_intrinsics: NDArray[np.float64],
    to_next: NDArray[np.float64],
) -> float:
    """A pair's share of TAE (Chen et al. 2025, Video Depth Anything): the mean of both directions; NaN if none.

    depth, next_depth: predicted [H, W], metres. to_next: [4, 4], camera to the next camera. One direction: every depth
    is moved into the other camera and drawn at the nearest pixel, and the mean of |drawn − predicted| / predicted is
    taken over the pixels that were hit. As in the authors' code nothing else is masked; where several depths meet, the
    nearest is drawn here, the last there.
    """

    def one_way(
        source: Map, target: Map, camera: NDArray[np.float64], motion: NDArray[np.float64], other: NDArray[np.float64]
    ) -> float:
        moved, places = reproject(source, camera, motion, other)
        drawn = splat(moved, places, target.shape[0], target.shape[1])
        hit = drawn > 0
        return float((np.abs(drawn - target)[hit] / target[hit]).mean()) if hit.any() else np.nan

    forth = one_way(depth, next_depth, intrinsics, to_next, next_intrinsics)
    to_this = np.asarray(np.linalg.inv(to_next), np.float64)
    back = one_way(next_depth, depth, next_intrinsics, to_this, intrinsics)
    return (forth + back) / 2


def warp_error(
    inverse: Map,
    next_inverse: Map,
    image: NDArray[np.uint8],
    next_image: NDArray[np.uint8],
    flow: NDArray[np.float32],
) -> float:
    """A pair's OPW (Wang et al. 2023, Neural Video Depth Stabilizer), in the unit of `inverse`; NaN if nothing stays.

    mean of exp(−50 ‖I − I'‖²) · |p − p'| over the pixels whose flow ends in the picture; I, p: colour in 0..1 and
    predicted inverse depth [H, W] of a pixel, I', p': those at the end of its flow [H, W, 2], bilinear in the next.
    """
    row, column = np.indices(inverse.shape)
    x, y = column + flow[..., 0], row + flow[..., 1]
    off = np.abs(sample(next_inverse, x, y) - inverse)
    colours = (sample(next_image, x, y) - image) / 255
    weighted = np.exp(-_OCCLUSION * (colours * colours).sum(axis=-1)) * off
    stays = np.isfinite(weighted)
    return float(weighted[stays].mean()) if stays.any() else np.nan


def static_flicker(
    predicted: Map,
    next_predicted: Map,
    true: Map,
    next_true: Map,
    intrinsics: NDArray[np.float64],
    next_intrinsics: NDArray[np.float64],
    to_next: NDArray[np.float64],
) -> float:
    """How much the prediction trembles on a pair's points that stand still: 1/m; NaN where there is no such point.

    All maps are inverse depth [H, W], 1/m; true is NaN where it is unknown or moves. A point x of this frame is found
    again at x' of the next by its true depth and the camera's motion `to_next` [4, 4]; it counts where the true depth
    there agrees within 5 %. The figure is the mean of |(p'(x') − p(x)) − (g'(x') − g(x))|, p predicted, g true,
    bilinear at x'. What the camera's motion changes, it changes in both.
    """
    depth, places = reproject(1 / true, intrinsics, to_next, next_intrinsics)
    return _flicker(predicted, next_predicted, true, next_true, depth, places)


def flow_flicker(predicted: Map, next_predicted: Map, true: Map, next_true: Map, flow: NDArray[np.float32]) -> float:
    """The same of points that are found again by the flow to the next frame, [H, W, 2] pixels: no pose has to be known.

    A point counts where the true depth at the end of its flow is its own within 5 %.
    """
    row, column = np.indices(true.shape)
    places = np.stack([column, row], axis=-1) + flow
    return _flicker(predicted, next_predicted, true, next_true, 1 / true, places)


def _flicker(
    predicted: Map, next_predicted: Map, true: Map, next_true: Map, depth: Map, places: NDArray[np.floating]
) -> float:
    """depth: of every point in the next frame, and `places` [H, W, 2] where it lies there."""
    x, y = places[..., 0], places[..., 1]
    there = sample(next_true, x, y)
    found = np.abs(there * depth - 1) <= _SAME_SURFACE  # false for NaN
    change = sample(next_predicted, x, y) - predicted
    return float(np.abs(change - (there - true))[found].mean()) if found.any() else np.nan
