"""From a coarse map to masks with edges: RGB-D guided filter, Gaussian over neighbouring frames, hysteresis."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics import library
from vmdepth.dynamics.first_pass import Floats
from vmdepth.dynamics.mask_stages import MaskStages, check_thresholds

SIGMA = 1.0  # frames, of the Gaussian over them


def upsampled(maps: Floats, height: int, width: int) -> Floats:
    """Maps of patches [T, h, w] → of pixels [T, height, width], bilinear, corners at the outer edges of corner patches
    (PyTorch's `align_corners=False`)."""
    return np.stack([cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR) for x in maps.astype(np.float32)])


def nearness(depth: Floats, inverse: bool) -> Floats:
    """Depth [H, W] as a guide, 0..1, larger is nearer: between its percentiles 2 and 98, so that no scale matters.

    Where there is none (depth not above 0, or not a number) it is 0, as of the sky.
    """
    there = np.isfinite(depth) if inverse else depth > 0
    near = np.where(there, depth if inverse else 1 / np.where(there, depth, 1), np.nan)
    if np.isnan(near).all():
        return np.zeros(depth.shape, np.float32)
    low, high = np.nanpercentile(near, (2, 98))
    least = max(1e-3 * abs(high), np.finfo(np.float32).tiny)  # less range than that is noise
    return np.nan_to_num(np.clip((near - low) / max(high - low, least), 0, 1)).astype(np.float32)


def rgbd_guides(image: NDArray[np.uint8], depth: Floats, inverse: bool) -> Floats:
    """Four channels [H, W, 4] in 0..1 of an image [H, W, 3], RGB, and its depth [H, W]."""
    return np.concatenate([image.astype(np.float32) / 255, nearness(depth, inverse)[..., None]], axis=-1)


def guided_filter(
    values: Floats, guides: Floats, radius: int = MaskStages.guide_radius, softness: float = MaskStages.guide_softness
) -> Floats:
    """Values that follow the edges of guides: in every window the linear function of them nearest to the values.

    He, Sun and Tang 2013, the form for guides of several channels, in float64 with exact means: a window that reaches
    over the frame's border counts the pixels inside.

    Args:
        values: [H, W].
        guides: [H, W, channels], 0..1.
        radius: windows have 2 · radius + 1 pixels a side.
        softness: ε, what is added to the variance of guides, in their units squared: fainter edges than that are
            smoothed over.

    Returns:
        float32 [H, W]; may reach a little beyond the range of the values.
    """
    guides = guides.astype(np.float64) - guides.mean(axis=(0, 1), dtype=np.float64)  # variances without cancellation
    p = values.astype(np.float64)
    size = (2 * radius + 1, 2 * radius + 1)
    counts = cv2.boxFilter(np.ones(p.shape), -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)

    def mean(x: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(cv2.boxFilter(x, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT) / counts)

    channels = range(guides.shape[-1])
    means = np.stack([mean(guides[..., c]) for c in channels], -1)
    mean_p = mean(p)
    with_p = np.stack([mean(guides[..., c] * p) for c in channels], -1) - means * mean_p[..., None]
    covariance = np.empty((*p.shape, len(channels), len(channels)))
    for i in channels:
        for j in range(i, len(channels)):
            entry = mean(guides[..., i] * guides[..., j]) - means[..., i] * means[..., j]
            covariance[..., i, j] = covariance[..., j, i] = entry
    slope = np.linalg.solve(covariance + softness * np.eye(len(channels)), with_p[..., None])[..., 0]
    offset = mean_p - (slope * means).sum(-1)
    slopes = np.stack([mean(slope[..., c]) for c in channels], -1)
    return ((slopes * guides).sum(-1) + mean(offset)).astype(np.float32)


def smoothed_over_frames(maps: Floats, frames: int = MaskStages.smooth_frames, sigma: float = SIGMA) -> Floats:
    """A Gaussian mean of maps [T, H, W] over t ± frames, of those that there are; sigma: in frames."""
    out = np.empty(maps.shape, np.float32)
    for t in range(len(maps)):
        near = np.arange(max(0, t - frames), min(len(maps), t + frames + 1))
        weights = np.exp(-((near - t) ** 2) / (2 * sigma**2))
        out[t] = np.tensordot((weights / weights.sum()).astype(np.float32), maps[near[0] : near[-1] + 1], 1)
    return out


def hysteresis(maps: Floats, high: float = MaskStages.high, low: float = MaskStages.low) -> NDArray[np.bool_]:
    """What lies above `high`, and what lies above `low` and hangs together with it within its frame (Canny 1986).

    maps: [T, H, W]. Returns bool [T, H, W]. Raises InputError for thresholds out of order.
    """
    check_thresholds(high, low)
    parted = library("skimage.filters").apply_hysteresis_threshold
    return np.stack([parted(x, low, high) for x in maps])
