"""How much clusters of points differ from what other views see there, as VGGT4D's released code measures it.

Points that stand still lie, in every view that sees them, at the depth that it has there, and have the same colour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.refinement.options import UNSEEN, RefineOptions
from vmdepth.dynamics.refinement.scene import BEFORE_SKY, MIDDLE, Floats, Scene, bilinear, nearest, unit


def residual_losses(
    scene: Scene, frame: int, pixels: NDArray[np.intp], labels: NDArray[np.intp], count: int, options: RefineOptions
) -> Floats:
    """The losses of the clusters of one frame.

    Samples are taken in every other view that sees a point (it lies in the picture and not behind the surface there)
    and whose mask is static there. All samples of a cluster count alike, whatever their view.

    Args:
        scene: all frames.
        frame: whose clusters they are.
        pixels: [M], of its mask: row · W + column.
        labels: [M], the clusters of these, 0 to `count` − 1.
        count: of clusters.
        options: of the whole refinement.

    Returns:
        [count, 3]: mean |z − D|, mean |ΔRGB| summed over the channels, and the loss, which is the first and a third
        (`colour_weight`) of the second. `UNSEEN`, all three, where too few samples are left.
    """
    sums, samples = np.zeros((count, 2)), np.zeros(count)
    own = scene.colours(frame, pixels)
    shift = MIDDLE if options.centred else 0.0
    for seen in scene.projected(frame, scene.points(frame, pixels), options.every):
        off = seen.place[:, 2] - nearest(scene.depth, seen, shift)
        off[np.isneginf(off)] = -BEFORE_SKY
        visible = off < options.visible
        seen, off = seen[visible], off[visible]
        still = bilinear(scene.moves, seen, shift) <= 0.5
        seen, off = seen[still], np.abs(off[still])
        colours = np.abs(unit(bilinear(scene.images, seen, shift), scene.images.dtype) - own[seen.point]).sum(axis=1)
        cluster = labels[seen.point]
        samples += np.bincount(cluster, minlength=count)
        for column, values in enumerate((off, colours)):
            sums[:, column] += np.bincount(cluster, values, count)
    possible = np.bincount(labels, minlength=count) * scene.others(frame, options.every)
    losses = np.full((count, 3), UNSEEN)
    known = (samples > 0) & (samples >= options.least_seen * possible)
    losses[known, :2] = sums[known] / samples[known, None]
    losses[known, 2] = losses[known, 0] + options.colour_weight * losses[known, 1]
    return losses
