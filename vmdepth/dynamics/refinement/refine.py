"""Refinement: of what a mask says moves, only that stays which other views contradict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.refinement.clusters import clustered
from vmdepth.dynamics.refinement.gradient import gradient_losses
from vmdepth.dynamics.refinement.morphology import closed_and_grown
from vmdepth.dynamics.refinement.options import THRESHOLDS, How, RefineOptions
from vmdepth.dynamics.refinement.outliers import inliers
from vmdepth.dynamics.refinement.residual import residual_losses
from vmdepth.dynamics.refinement.scene import Scene, scene_of
from vmdepth_runtime.errors import InputError

STATIC, OUTLIER = -1, -2
"""Labels of pixels that are in no cluster: not in the mask, and no point of the cloud."""

_LOSSES = {"residual": residual_losses, "gradient": gradient_losses}


@dataclass(frozen=True)
class Refined:
    """What refinement made.

    Attributes:
        masks: bool [T, H, W], what moves.
        kept: bool [T, H, W], the same before holes are closed and the mask grows.
        labels: int16 [T, H, W]: the cluster of a pixel, from 0 on in every frame; `STATIC`, `OUTLIER`.
        losses: float64 [T, C, 3], of every cluster the geometric part, the colours' and the loss, in units of the
            scene; 1e10 where too little was seen of it, NaN where a frame has no such cluster.
        scale: the depth that is 1 in the scene.
    """

    masks: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    labels: NDArray[np.int16]
    losses: NDArray[np.float64]
    scale: float


def refine(
    images: NDArray[np.uint8] | NDArray[np.float32],
    depth: NDArray[np.floating],
    moves: NDArray[np.bool_],
    cam2world: NDArray[np.floating],
    intrinsics: NDArray[np.floating],
    how: How = "residual",
    *,
    scale: float | None = None,
    options: RefineOptions = RefineOptions(),  # noqa: B008  # it is frozen
    labels: NDArray[np.integer] | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Refined:
    """Refine the masks of a clip: each frame's against all other frames.

    Points of the mask that lie apart are dropped (statistical outlier removal); the rest are put into clusters; those
    stay that other views, where they see the place and have no mask there, contradict, and those that no other view
    shows. Clusters can only go: what the mask has missed is lost, but for the pixel by which it grows at the end where
    pictures are wide enough (`RefineOptions.grow`).

    Args:
        images: RGB [T, H, W, 3], uint8 or float32 0..1.
        depth: [T, H, W], along the optical axis, in the unit of the cameras; +inf is sky. What is that, or not above 0,
            leaves the mask, as it is no point; before sky nothing is hidden.
        moves: bool [T, H, W], the masks.
        cam2world: [T, 4, 4].
        intrinsics: [T, 3, 3], in pixels of the images, from the outer corner of the first one.
        how: "residual" is what VGGT4D's released code does, "gradient" what its paper describes.
        scale: the depth that counts as 1 in all thresholds: VGGT normalises scenes so, other networks do not. None is
            the median depth of the clip.
        options: all the constants.
        labels: [T, H, W], clusters that are made already (as `Refined.labels`); None makes them.
        progress: told after every frame how many are done.

    Raises:
        InputError: arrays that do not fit each other, fewer than two frames, more frames left out than there are.
    """
    _check(depth, how, options, labels)
    scene, unit = scene_of(images, depth, moves, cam2world, intrinsics, scale)
    threshold = THRESHOLDS[how] if options.threshold is None else options.threshold
    found = np.full(depth.shape, OUTLIER, np.int16) if labels is None else labels.astype(np.int16)
    losses = np.full((len(depth), max(options.clusters, int(found.max()) + 1), 3), np.nan)
    kept = np.zeros(depth.shape, bool)
    for frame in range(len(depth)):
        if labels is None:
            found[frame] = _labels(scene, frame, options)
        flat = found[frame].ravel()
        pixels = np.flatnonzero(flat >= 0)
        if len(pixels):
            ids, numbers = np.unique(flat[pixels], return_inverse=True)
            losses[frame, ids] = _LOSSES[how](scene, frame, pixels, numbers, len(ids), options)
            kept[frame].ravel()[pixels] = losses[frame, flat[pixels], 2] > threshold
        progress(frame + 1)
    close, grow = options.at_width(depth.shape[2])
    masks = np.stack([closed_and_grown(mask, close, grow) for mask in kept])
    return Refined(masks, kept, found, losses, unit)


def _check(depth: NDArray[np.floating], how: str, options: RefineOptions, labels: NDArray[np.integer] | None) -> None:
    """Raise InputError for what `scene_of` does not look at."""
    if how not in _LOSSES:
        raise InputError(f"refinement '{how}': there are {', '.join(_LOSSES)}")
    if len(depth) <= options.every:
        raise InputError(
            f"refinement: has {len(depth)} frames, and with every={options.every} takes {options.every + 1} at least"
        )
    if labels is not None and labels.shape != depth.shape:
        raise InputError("refinement: labels are not of the frames that depth is of; give arrays of the same frames")


def _labels(scene: Scene, frame: int, options: RefineOptions) -> NDArray[np.int16]:
    """The label of every pixel of a frame [H, W]."""
    labels = np.full(scene.depth[frame].size, OUTLIER, np.int16)
    moves = scene.moves[frame].ravel()
    pixels = np.flatnonzero(np.isfinite(scene.depth[frame]))
    points = scene.points(frame, pixels)
    if options.neighbours:
        inside = inliers(points, options.neighbours, options.spread)
        pixels, points = pixels[inside], points[inside]
    labels[pixels] = STATIC
    chosen = moves[pixels]
    labels[pixels[chosen]] = clustered(points[chosen], options.clusters, options.seed)
    return labels.reshape(scene.moves.shape[1:])
