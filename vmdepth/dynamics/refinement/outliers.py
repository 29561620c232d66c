"""Points that lie apart from all others: statistical outlier removal, as Open3D does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def inliers(points: NDArray[np.float64], neighbours: int, spread: float) -> NDArray[np.bool_]:
    """Which points [M, 3] have neighbours near enough: [M].

    The mean distance to a point's nearest neighbours is compared with the mean over all points and its standard
    deviation (that of a sample: divided by M − 1).

    Args:
        points: of a whole frame.
        neighbours: how many count, the point itself, at distance 0, among them.
        spread: standard deviations above the mean that are too far.
    """
    if len(points) < 2:
        return np.ones(len(points), bool)
    distances, _ = cKDTree(points).query(points, k=min(neighbours, len(points)), workers=-1)
    mean = distances.mean(axis=1)
    return (mean > 0) & (mean < mean.mean() + spread * mean.std(ddof=1))
