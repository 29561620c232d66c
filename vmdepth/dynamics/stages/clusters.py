"""Clusters of patches that look alike, over all frames: what one of them does, all of them do."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics import library
from vmdepth.dynamics.first_pass import Floats
from vmdepth.dynamics.mask_stages import MaskStages


def feature_clusters(
    features: Floats, clusters: int = MaskStages.clusters, seed: int = MaskStages.seed
) -> NDArray[np.int64]:
    """k-means of patches by their features, all frames of a clip together (as VGGT4D and Easi3R describe).

    Args:
        features: float32 [T, h, w, C].
        clusters: how many there are at most; no more than there are patches.
        seed: of the first centres.

    Returns:
        The cluster of every patch, [T, h, w].
    """
    k_means = library("sklearn.cluster").KMeans
    patches = features.reshape(-1, features.shape[-1])
    with warnings.catch_warnings():
        # Patches that are all the same give fewer clusters than were asked for, which is right.
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        means = k_means(min(clusters, len(patches)), random_state=seed, n_init=1).fit(patches)
    return means.labels_.astype(np.int64).reshape(features.shape[:3])


def cluster_means(values: Floats, labels: NDArray[np.integer]) -> Floats:
    """Every place of values [T, h, w] gets the mean of its cluster; labels: [T, h, w], from 0."""
    places = labels.ravel()
    sums = np.bincount(places, weights=values.ravel())
    counts = np.bincount(places)
    return (sums / np.maximum(counts, 1)).astype(np.float32)[labels]
