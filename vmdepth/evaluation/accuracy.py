"""How right depth is: shares and errors of predictions once they are fitted in inverse depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from vmdepth.evaluation.alignment import fit_maps
from vmdepth.fitting import Map

FARTHEST = 80.0
"""Metres: depth, true and predicted, is cut here, as is usual outdoors (Eigen et al. 2014). Without a limit the few
pixels whose fitted inverse depth falls to 0 or below, however little, would outweigh all others."""


@dataclass(frozen=True)
class Accuracy:
    """Over all pixels of finite known depth d, and predicted depth d̂, both cut at `FARTHEST`.

    delta1: share of pixels with max(d/d̂, d̂/d) < 1.25, in 0..1. absrel: mean |d − d̂| / d. rmse: √ mean (d − d̂)²,
    metres.
    """

    delta1: float
    absrel: float
    rmse: float


def frame_errors(inverse: Map, depth: Map, fit: tuple[float, float]) -> NDArray[np.float64]:
    """Of one frame's maps [H, W]: [4], pixels of known depth, those within a quarter, Σ |d − d̂| / d, Σ (d − d̂)²."""
    known = np.isfinite(depth) & (depth > 0)
    true = np.minimum(depth[known].astype(np.float64), FARTHEST)
    guess = 1 / np.maximum(fit[0] * inverse[known].astype(np.float64) + fit[1], 1 / FARTHEST)
    off = np.abs(guess - true)
    within = np.maximum(guess / true, true / guess) < 1.25
    return np.array([true.size, within.sum(), (off / true).sum(), (off * off).sum()])


def pooled(errors: NDArray[np.float64]) -> Accuracy | None:
    """All pixels of several frames' `frame_errors` [N, 4] together; None where none of them is known."""
    pixels, within, relative, squared = errors.sum(axis=0)
    if not pixels:
        return None
    return Accuracy(float(within / pixels), float(relative / pixels), float(np.sqrt(squared / pixels)))


def accuracy(inverses: Sequence[Map], depths: Sequence[Map]) -> Accuracy:
    """Of one clip, after one fit of scale and shift. inverses: predicted [H, W] each, up to scale and shift. depths:
    true, metres.

    A depth that is not finite or ≤ 0 is unknown. A prediction that lands at or below 0 counts as `FARTHEST`. Raises
    ValueError when no depth is known.
    """
    fit = fit_maps(inverses, depths)
    found = pooled(np.stack([frame_errors(i, d, fit) for i, d in zip(inverses, depths, strict=True)]))
    assert found is not None  # or there would have been no fit
    return found


def mean_map_accuracy(depths: Sequence[Sequence[Map]]) -> Accuracy:
    """What a picture-blind guess reaches: one inverse depth per pixel for every frame of every clip.

    depths: per clip, maps [H, W]. The map is the per-pixel mean of inverse depth over these very clips, where it is
    known (sky is, as 0). It is tried as it is and with every clip first brought to mean 0 and deviation 1; the better
    δ1 is returned, as the mean over clips.
    """
    plain, normalised, count = (np.zeros(depths[0][0].shape) for _ in range(3))
    for clip in depths:
        total, known, squares = np.zeros_like(plain), np.zeros_like(plain), 0.0
        for depth in clip:
            inverse = np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), 0).astype(np.float64)
            total += inverse
            known += depth > 0
            squares += float((inverse * inverse).sum())
        mean = total.sum() / max(known.sum(), 1)
        deviation = max(squares / max(known.sum(), 1) - mean * mean, 0) ** 0.5
        plain += total
        normalised += (total - known * mean) / max(deviation, 1e-6)
        count += known
    guesses = [sums / np.maximum(count, 1) for sums in (plain, normalised)]
    candidates = [mean_accuracy([accuracy([guess] * len(clip), clip) for clip in depths]) for guess in guesses]
    return max(candidates, key=lambda a: a.delta1)


def mean_accuracy(accuracies: Sequence[Accuracy]) -> Accuracy:
    """Every figure averaged over clips, each counted once."""
    return Accuracy(*(float(column) for column in np.mean([astuple(a) for a in accuracies], axis=0)))
