"""Similarities of space: rotation, shift, scale; and the one that brings points onto others though some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vmdepth.views.geometry import Floats, inverse, nearest_rotation

_GUESSES = 300  # triples of pairs that are tried: with half of all pairs wrong, one of 8 is all right
_JUDGED = 1000  # pairs that guesses are judged by
_ROUNDS = 30  # of weighing anew, at most
_EXACT = 1e-9  # share of the distance that is nothing
_SPREAD = 1.4826  # times the median of absolute values is the deviation of normal noise
_BISQUARE = 4.685  # deviations from which on a pair counts nothing; of normal noise it wastes a twentieth


@dataclass(frozen=True)
class Similarity:
    """p → scale · rotation · p + shift. rotation: [3, 3]; shift: [3]."""

    scale: float
    rotation: Floats
    shift: Floats

    def points(self, points: Floats) -> Floats:
        """Points [..., 3], moved."""
        return self.scale * points @ self.rotation.T + self.shift

    def cameras(self, extrinsics: Floats) -> Floats:
        """Extrinsics [..., 3, 4] of the moved cameras, whose depth is `scale` times what it was."""
        to_world = inverse(extrinsics)
        centre = self.points(to_world[..., 3])
        return inverse(np.concatenate([self.rotation @ to_world[..., :3], centre[..., None]], axis=-1))


@dataclass(frozen=True)
class Fit:
    """A similarity and how well it fits: the median distance that is left, as a share of the points' distances."""

    similarity: Similarity
    residual: float


def fit_robustly(
    source: Floats, target: Floats, scale: float, distance: Floats, sureness: Floats, *, seed: int = 0
) -> Fit | None:
    """The similarity of a known scale that brings points onto others, of which up to half may be anything.

    The best of many fits to three pairs, by the median of what is left, starts a fit that weighs every pair by how far
    it is off (Tukey's bisquare) until that settles. The scale is not fitted along, since least squares make it too
    small where the source is noisy: by a fifth with depth that is 5 % off.

    Args:
        source: [K, 3].
        target: [K, 3].
        scale: from the source's unit to the target's.
        distance: of the pairs from their cameras, [K], above 0, in the target's unit: errors of depth grow with it, so
            what is left counts in shares of it.
        sureness: of the pairs, [K], ≥ 0; one that is twice as sure counts twice.
        seed: of the triples that are tried.

    Returns:
        The fit; None where there are fewer than three pairs.
    """
    if np.count_nonzero(sureness > 0) < 3:
        return None
    source = scale * source
    rotation, shift = _best_guess(source, target, distance, sureness, np.random.default_rng(seed))
    off = _off(source, target, distance, rotation, shift)
    for _ in range(_ROUNDS):
        reach = _BISQUARE * max(_SPREAD * float(np.median(off)), _EXACT)
        weights = sureness / np.square(distance) * np.square(np.clip(1 - np.square(off / reach), 0, None))
        if np.count_nonzero(weights) < 3:
            break
        before = off
        rotation, shift = _rigid(source, target, weights)
        off = _off(source, target, distance, rotation, shift)
        if np.abs(off - before).max() < _EXACT:
            break
    return Fit(Similarity(scale, rotation, shift), float(np.median(off)))


def _best_guess(
    source: Floats, target: Floats, distance: Floats, sureness: Floats, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    chances = sureness / sureness.sum()
    triples = generator.choice(len(source), size=(_GUESSES, 3), p=chances)
    rotations, shifts = _rigid(source[triples], target[triples], np.ones(triples.shape))
    judges = generator.choice(len(source), size=min(_JUDGED, len(source)), p=chances)
    off = _off(source[judges], target[judges], distance[judges], rotations, shifts)
    best = int(np.median(off, axis=-1).argmin())
    return rotations[best], shifts[best]


def _rigid(source: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Rotations [..., 3, 3] and shifts [..., 3] of least weighted squares over pairs [..., K, 3] (Kabsch 1976)."""
    part = (weights / weights.sum(-1, keepdims=True))[..., None]
    from_middle, to_middle = (part * source).sum(-2), (part * target).sum(-2)
    spread = np.swapaxes(part * (target - to_middle[..., None, :]), -2, -1) @ (source - from_middle[..., None, :])
    rotation = nearest_rotation(spread)
    return rotation, to_middle - (rotation @ from_middle[..., None])[..., 0]


def _off(source: Floats, target: Floats, distance: Floats, rotation: Floats, shift: Floats) -> Floats:
    """What is left of K pairs after rotations [..., 3, 3] and shifts [..., 3], in shares of the distance: [..., K]."""
    moved = source @ np.swapaxes(rotation, -2, -1) + shift[..., None, :]
    return np.linalg.norm(moved - target, axis=-1) / distance


def median_of(values: Floats, weights: Floats) -> float:
    """The weighted median of flat values, at least one."""
    order = values.argsort()
    total = weights[order].cumsum()
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def distance_ratio(source: Floats, target: Floats) -> float | None:
    """How many times as far as `source` points [K, 3] the `target` points are from each other: the median over pairs.

    Pairs that are near each other count less, as much as they are nearer than the median. None where either has all its
    points at one place.
    """
    first, second = np.triu_indices(len(source), 1)
    here, there = (np.linalg.norm(points[first] - points[second], axis=-1) for points in (source, target))
    apart = (here > 1e-9) & (there > 1e-9)
    if not apart.any():
        return None
    there = there[apart]
    return median_of(there / here[apart], np.minimum(there, np.median(there)))
