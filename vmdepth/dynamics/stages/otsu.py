"""Multi-level Otsu with as many levels as part a clip best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vmdepth.dynamics import library
from vmdepth.dynamics.first_pass import Floats

BINS = 256
CLASSES = (2, 3, 4)


@dataclass(frozen=True)
class OtsuThreshold:
    """value: what moves lies above; inf where values are all the same or none. classes: their number with the highest
    score, 0 likewise. levels, scores: of every number of classes that the values can be parted in."""

    value: float
    classes: int
    levels: dict[int, Floats]
    scores: dict[int, float]


def best_threshold(values: Floats, classes: tuple[int, ...] = CLASSES, bins: int = BINS) -> OtsuThreshold:
    """One threshold for a whole clip, as VGGT4D's released code takes it.

    Thresholds are those of scikit-image (Liao et al. 2001), bin centres over [min, max], its quirks included: the first
    maximum counts on plateaus, and bins 0 and 1 weigh the same. The score of n classes is the variance of their means,
    whatever their sizes, over √n; of the n with the highest score the highest threshold is taken.

    Args:
        values: float32, of any shape.
        classes: the numbers of classes that are tried, the first one winning a tie.
        bins: of the histogram.

    Returns:
        The threshold; `values > value` moves.
    """
    threshold_multiotsu = library("skimage.filters").threshold_multiotsu
    flat = values.reshape(-1)
    if not flat.size:
        return OtsuThreshold(math.inf, 0, {}, {})
    counts, centres = library("skimage.exposure").histogram(flat, bins, source_range="image", normalize=True)
    levels: dict[int, Floats] = {}
    scores: dict[int, float] = {}
    for n in classes:
        if np.count_nonzero(counts) < n:
            continue  # so few different values have no n classes
        thresholds = threshold_multiotsu(classes=n, hist=(counts, centres))
        means = class_means(flat, thresholds)
        if np.isfinite(means).all():
            levels[n], scores[n] = thresholds, float(np.var(means) / math.sqrt(n))
    if not scores:
        return OtsuThreshold(math.inf, 0, levels, scores)
    best = max(scores, key=lambda n: scores[n])
    return OtsuThreshold(float(levels[best][-1]), best, levels, scores)


def class_means(values: Floats, thresholds: Floats) -> Floats:
    """The mean of the values from each threshold up to the next, and of those below the first; NaN of an empty class.

    values: of any shape; thresholds: [n − 1], rising. Returns float64 [n].
    """
    # Sums of what lies at or above each threshold, and their differences, need no array of class numbers.
    above = [np.ones(values.shape, bool), *(values >= threshold for threshold in thresholds)]
    sums = np.array([values.sum(where=part, dtype=np.float64) for part in above] + [0.0])
    counts = np.array([np.count_nonzero(part) for part in above] + [0])
    with np.errstate(invalid="ignore"):
        return (sums[:-1] - sums[1:]) / (counts[:-1] - counts[1:])
