"""Points that lie together, to be judged together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans


def clustered(points: NDArray[np.float64], count: int, seed: int) -> NDArray[np.intp]:
    """The cluster, from 0 on, of every point [M, 3]: [M].

    Of at most `count`, and of no more than there are places that differ, which k-means refuses.
    """
    if not len(points):
        return np.zeros(0, np.intp)
    count = min(count, len(np.unique(points, axis=0)))
    return KMeans(count, random_state=seed).fit_predict(points).astype(np.intp)
