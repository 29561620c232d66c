"""How much clusters of points differ from what other views see there, as the paper of VGGT4D describes it.

It is how much a point is pulled towards the surfaces that other views see: by the gradient, with respect to the point,
of ½ r², where r = z − D(u, v) is the depth that the point has in a view less the depth that the view has there. With R,
the rotation from world to camera,

    ∇r = e_zᵀ R − ∇D(u, v) · J · R,    J = [[fx/z, 0, −fx·x/z²], [0, fy/z, −fy·y/z²]]

The paper is arXiv 2511.19971; the derivative is ours, and so are N (all other views), the weight of colours and the
threshold, of which it says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.refinement.options import UNSEEN, RefineOptions
from vmdepth.dynamics.refinement.scene import BEFORE_SKY, MIDDLE, Floats, Projected, Scene, bilinear, unit

_FARTHEST = 1e6  # units of the scene: sky, which no slope can be had of
_SKY = 1e3  # what is farther is partly sky


def point_gradients(
    scene: Scene, frame: int, pixels: NDArray[np.intp], options: RefineOptions
) -> tuple[Floats, Floats, Floats]:
    """What the other views say of the points of a frame.

    Args:
        scene: all frames.
        frame: whose points they are.
        pixels: [M], row · W + column.
        options: of the whole refinement.

    Returns:
        (1/N) Σ w r ∇r [M, 3] in the world, (1/N) Σ w (c − C(u, v)) [M, 3], and Σ w [M], where the sums go over the N
        other views and w is 1 where a view sees the point and its mask is static there, else 0.
    """
    count, others = len(pixels), scene.others(frame, options.every)
    geometric, photometric, samples = np.zeros((count, 3)), np.zeros((count, 3)), np.zeros(count)
    own = scene.colours(frame, pixels)
    for seen in scene.projected(frame, scene.points(frame, pixels), options.every):
        seen = seen[bilinear(scene.moves, seen, MIDDLE) <= 0.5]
        surface, slope = _surface(scene.depth, seen)
        sky = surface > _SKY
        slope[sky] = 0
        off = np.where(sky, -BEFORE_SKY, seen.place[:, 2] - surface)
        visible = off < options.visible
        seen, off, slope = seen[visible], off[visible], slope[visible]
        pull = off[:, None] * _gradients(scene, seen, slope)
        colours = own[seen.point] - unit(bilinear(scene.images, seen, MIDDLE), scene.images.dtype)
        samples += np.bincount(seen.point, minlength=count)
        for axis in range(3):
            geometric[:, axis] += np.bincount(seen.point, pull[:, axis], count)
            photometric[:, axis] += np.bincount(seen.point, colours[:, axis], count)
    return geometric / others, photometric / others, samples


def gradient_losses(
    scene: Scene, frame: int, pixels: NDArray[np.intp], labels: NDArray[np.intp], count: int, options: RefineOptions
) -> Floats:
    """The losses [count, 3] of the clusters of one frame; arguments as those of `residual.residual_losses`.

    The lengths of the geometric and of the photometric sum of `point_gradients`, averaged over the points of a cluster,
    and the loss: the first and `colour_weight` times the second. `UNSEEN` where too few samples are left.
    """
    geometric, photometric, samples = point_gradients(scene, frame, pixels, options)
    points = np.bincount(labels, minlength=count)
    losses = np.full((count, 3), UNSEEN)
    seen = np.bincount(labels, samples, count)
    known = (seen > 0) & (seen >= options.least_seen * points * scene.others(frame, options.every))
    for column, values in enumerate((geometric, photometric)):
        sums = np.bincount(labels, np.linalg.norm(values, axis=1), count)
        losses[known, column] = sums[known] / points[known]
    losses[known, 2] = losses[known, 0] + options.colour_weight * losses[known, 1]
    return losses


def _surface(depth: NDArray[np.float32], at: Projected) -> tuple[Floats, Floats]:
    """Depth [N] at (u, v), bilinear, and its slope [N, 2] per pixel; at the rim that of the outermost pixels."""
    height, width = depth.shape[1:]
    column, row = (np.clip(place - 0.5, 0, size - 1) for place, size in ((at.u, width), (at.v, height)))
    left = np.minimum(column.astype(np.intp), width - 2)
    top = np.minimum(row.astype(np.intp), height - 2)
    across, down = column - left, row - top
    (a, b), (c, d) = [
        [np.minimum(depth[at.view, y, x], _FARTHEST).astype(np.float64) for x in (left, left + 1)]
        for y in (top, top + 1)
    ]
    high, low = a + across * (b - a), c + across * (d - c)
    slope = np.stack([(1 - down) * (b - a) + down * (d - c), low - high], axis=1)
    return high + down * (low - high), slope


def _gradients(scene: Scene, seen: Projected, slope: Floats) -> Floats:
    """∇r [N, 3], with respect to the points in the world."""
    x, y, z = seen.place.T
    fx, fy = scene.intrinsics[seen.view, 0, 0], scene.intrinsics[seen.view, 1, 1]
    in_camera = np.stack(
        [
            -slope[:, 0] * fx / z,
            -slope[:, 1] * fy / z,
            1 + (slope[:, 0] * fx * x + slope[:, 1] * fy * y) / z**2,
        ],
        axis=1,
    )
    return np.einsum("na,nab->nb", in_camera, scene.to_camera[seen.view, :3, :3])
