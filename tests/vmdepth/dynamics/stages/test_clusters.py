"""Clusters of patches over all frames of a clip."""

import sys

import numpy as np
import pytest

from vmdepth.dynamics.stages.clusters import cluster_means, feature_clusters
from vmdepth_runtime.errors import InputError


def test_the_clusters_of_the_planted_features_are_found(shared_reference):
    stored = np.load(shared_reference / "vggt4d" / "io_vggt4d_dyn.npz")
    labels = feature_clusters(stored["feat_i8"].astype(np.float32))
    assert labels.shape == (13, 10, 12)
    for theirs in (stored["cluster_label"], stored["planted_label"]):
        pairs = {(a, b) for a, b in zip(labels.ravel(), theirs.ravel(), strict=True)}
        assert len(pairs) == 64  # one to one: the same partition


def test_a_cluster_is_one_through_all_frames_and_every_patch_gets_its_mean():
    features = np.zeros((2, 2, 3, 4), np.float32)
    features[:, :, 1:, 0] = 5
    labels = feature_clusters(features, clusters=2)
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    means = cluster_means(values, labels)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means[..., 0], values[..., 0].mean())
    np.testing.assert_allclose(means[..., 1:], values[..., 1:].mean())


def test_fewer_patches_or_fewer_different_ones_than_clusters(recwarn):
    few = np.random.default_rng(0).random((2, 2, 3, 4), np.float32)
    assert len(np.unique(feature_clusters(few))) == 12
    alike = np.ones((3, 6, 6, 4), np.float32)
    values = np.full((3, 6, 6), 0.3, np.float32)
    np.testing.assert_allclose(cluster_means(values, feature_clusters(alike)), values)
    assert not recwarn


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(InputError, match=r"sklearn.cluster.*; pip install 'vmdepth\[dynamics\]'"):
        feature_clusters(np.ones((1, 2, 2, 3), np.float32))
