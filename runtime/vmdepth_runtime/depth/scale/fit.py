"""Scale and shift of depth from measured metres, whatever some of the measurements are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.depth.scale.metres import Metres
from vmdepth_runtime.depth_kinds import DepthKind

FEWEST = 100
"""Points of measured depth below which nothing is fitted."""

NO_BETTER = 0.9
"""Of the median error that one distance for all points has: a fit that is off by more explains nothing."""

_PAIRS = 200  # draws of two points; half of all may be wrong, and yet every draw misses once in 1e24 times
_JUDGES = 1000  # points that those are judged by
_ROUNDS = 50  # of reweighting at most
_SETTLED = 1e-6  # change of the fit, relative, at which that is done
_TUKEY = 4.685  # standard deviations beyond which a point counts for nothing: 95 % efficient for normal errors
_TO_DEVIATION = 1.4826  # from the median of the absolute value of a normal error to its standard deviation
_EXACT = 1e-6  # relative: errors below it are rounding
_BEYOND = 2.0  # times as far as the farthest measurement: what is said to be farther was never seen
_FARTHEST_SHARE = 99.0  # percent of the measurements that are no farther than "the farthest": single ones are wrong


class NoFit(ValueError):
    """No scale and shift can be told from these points. Says why, in a few words."""


@dataclass(frozen=True)
class FitErrors:
    """How far fitted depth is from what was measured, relative to that: |fitted − measured| / measured.

    Attributes:
        points: how many were measured.
        median: of the errors.
        mean: likewise, AbsRel of the literature.
        delta1: share of points within a factor of 1.25.
    """

    points: int
    median: float
    mean: float
    delta1: float


def fit_metres(depth: NDArray[np.floating], measured: NDArray[np.floating], kind: DepthKind) -> Metres:
    """Fit what makes metres of depth without a unit.

    Of relative depth d, 1 / z = scale × d + shift. What is made small is z × (scale × d + shift) − 1, so that a point
    counts by the share of its distance that it is off: least squares of inverse depth would all but leave out what is
    far. Two points at a time are tried first and judged by the median of all (least median of squares, Rousseeuw 1984),
    which up to half of the points may be wrong for; then Tukey's biweight by iterated least squares uses all those that
    are right. Of scaled depth it is log z = log scale + log d, from the median on.

    Args:
        depth: `[N]` as the network gave it.
        measured: `[N]`, metres, above 0.
        kind: of the depth, one without a unit.

    Returns:
        Scale and shift, and as the farthest twice what was measured.

    Raises:
        NoFit: fewer than `FEWEST` points, depth without any relief, depth that runs against what was measured, or that
            explains it no better than one distance for all, as where a camera looks at a wall.
    """
    d, z = depth.astype(np.float64), measured.astype(np.float64)
    known = np.isfinite(d) & np.isfinite(z) & (z > 0)
    d, z = d[known], z[known]
    if len(d) < FEWEST:
        raise NoFit(f"{len(d)} points of measured depth, and a fit takes {FEWEST}")
    if not kind.shifted:
        return Metres(_factor(d, z))
    scale, shift = _scale_and_shift(d, z)
    if np.median(np.abs(z * (scale * d + shift) - 1)) >= NO_BETTER * np.median(np.abs(z / np.median(z) - 1)):
        raise NoFit("one distance for all of it would do as well")
    if scale <= 0:
        raise NoFit("what is nearer by the network is farther by measurement")
    farthest = _BEYOND * float(np.percentile(z, _FARTHEST_SHARE))
    return Metres(scale, shift, farthest)


def fit_errors(metres: Metres, depth: NDArray[np.floating], measured: NDArray[np.floating]) -> FitErrors:
    """Errors of a fit over points `[N]`, N ≥ 1, that it need not have seen."""
    fitted = depth.astype(np.float32)
    metres.apply(fitted)
    z = measured.astype(np.float64)
    off = np.abs(fitted - z) / z
    return FitErrors(
        points=len(z),
        median=float(np.median(off)),
        mean=float(off.mean()),
        delta1=float((np.maximum(fitted / z, z / np.maximum(fitted, 1e-9)) < 1.25).mean()),
    )


def some_points(
    depth: NDArray[np.float32], measured: NDArray[np.float32], count: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where depth was measured: depth and metres of at most `count` of those points, drawn evenly.

    Args:
        depth: `[h, w]`, of the network.
        measured: `[h, w]` at the same places, metres; unknown is what is not finite or ≤ 0.
        count: points at most.
        random: draws them.
    """
    known = np.flatnonzero(np.isfinite(measured) & (measured > 0) & np.isfinite(depth))
    if len(known) > count:
        known = random.choice(known, count, replace=False)
    return depth.ravel()[known], measured.ravel()[known]


def _scale_and_shift(d: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[float, float]:
    """Of 1/z = scale × d + shift. Raises NoFit for depth that is all one value."""
    middle, spread = float(np.median(d)), float(np.std(d))
    if spread <= _EXACT * abs(middle):
        raise NoFit("its depth is flat there")
    x = (d - middle) / spread  # about 0 and 1, or products of sums lose their digits
    slope, level = _reweighted(x, z, *_least_median(x, z))
    return slope / spread, level - slope * middle / spread


def _least_median(x: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[float, float]:
    """Of lines through two points each that one for which half of some others are least off."""
    random = np.random.default_rng(0)
    one, other = random.integers(len(x), size=(2, _PAIRS))
    apart = np.abs(x[one] - x[other]) > _EXACT
    one, other = one[apart], other[apart]
    if len(one) == 0:
        raise NoFit("its depth is flat there")
    slopes = (1 / z[one] - 1 / z[other]) / (x[one] - x[other])
    levels = 1 / z[one] - slopes * x[one]
    judges = random.integers(len(x), size=min(len(x), _JUDGES))
    off = np.abs(z[judges] * (slopes[:, None] * x[judges] + levels[:, None]) - 1)
    best = int(np.median(off, axis=1).argmin())
    return float(slopes[best]), float(levels[best])


def _reweighted(x: NDArray[np.float64], z: NDArray[np.float64], slope: float, level: float) -> tuple[float, float]:
    """Slope and level that Tukey's biweight finds from there: weighted least squares of z × (slope × x + level) = 1."""
    zx = z * x
    for _ in range(_ROUNDS):
        weights = _biweight(slope * zx + level * z - 1)
        xx, x1, one = (float(weights @ product) for product in (zx * zx, zx * z, z * z))
        to_x, to_1 = float(weights @ zx), float(weights @ z)
        determinant = xx * one - x1 * x1
        if determinant <= 0:
            break
        before = slope, level
        slope, level = (one * to_x - x1 * to_1) / determinant, (xx * to_1 - x1 * to_x) / determinant
        if abs(slope - before[0]) + abs(level - before[1]) <= _SETTLED * (abs(slope) + abs(level)):
            break
    return slope, level


def _factor(d: NDArray[np.float64], z: NDArray[np.float64]) -> float:
    """Of z = factor × d, by the same weights on logarithms."""
    right = d > 0
    if np.count_nonzero(right) < FEWEST:
        raise NoFit("its depth is not above 0 there")
    logs = np.log(z[right]) - np.log(d[right])
    middle = float(np.median(logs))
    for _ in range(_ROUNDS):
        weights = _biweight(logs - middle)
        before, middle = middle, float(weights @ logs / weights.sum())
        if abs(middle - before) <= _SETTLED:
            break
    return float(np.exp(middle))


def _biweight(off: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of points by their errors: 1 for none, 0 beyond `_TUKEY` deviations as the median error tells those."""
    deviation = max(_TO_DEVIATION * float(np.median(np.abs(off))), _EXACT)
    return np.square(np.maximum(0.0, 1 - np.square(off / (_TUKEY * deviation))))
