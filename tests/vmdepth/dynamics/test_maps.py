"""Maps by their names, and what puts them between 0 and 1."""

import numpy as np
import pytest

from vmdepth.dynamics import maps
from vmdepth.dynamics.first_pass import Statistic


@pytest.fixture
def raw():
    rng = np.random.default_rng(0)
    wanted = maps.statistics_of_band((3, 5), "all")
    return {statistic: rng.normal(2, 3, (4, 5, 6)).astype(np.float32) for statistic in wanted}


def test_a_band_gives_twelve_maps_by_name(raw):
    found = maps.maps_of_band(raw, (3, 5), "all")
    assert set(found) == {
        f"{kind}_{pair}"
        for kind in ("similarity", "inv_similarity", "variance", "stability")
        for pair in ("qq", "kk", "qk")
    }
    for values in found.values():
        assert values.dtype == np.float32
        assert values.min() == 0
        assert values.max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found["inv_similarity_kk"], 1 - found["similarity_kk"], atol=2e-6)
    np.testing.assert_allclose(found["stability_qk"], 1 - found["variance_qk"], atol=2e-6)
    assert np.ptp(found["similarity_qq"] - found["similarity_kk"]) > 0.5  # each of its own statistic
    assert np.ptp(found["similarity_qq"] - found["variance_qq"]) > 0.5


def test_one_map_by_frame(raw):
    x = raw[Statistic("QK", "variance", (3, 5), "all")]
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    found = maps.map_of(raw, "variance", "QK", (3, 5), "all", maps.per_frame)
    np.testing.assert_allclose(found, (x - low) / (high - low + 1e-6), atol=1e-6)


def test_over_the_whole_clip_a_frame_may_stay_dark():
    x = np.zeros((2, 4, 5), np.float32)
    x[0, 1, 1], x[1, 2, 2] = 10, 1
    np.testing.assert_allclose(maps.per_frame(x).max((1, 2)), [1, 1], atol=1e-5)
    np.testing.assert_allclose(maps.whole_clip(x).max((1, 2)), [1, 0.1], atol=1e-5)
    between = maps.percentiles_2_98(np.arange(1000, dtype=np.float32).reshape(10, 10, 10))
    assert (between == 0).sum() == (between > 0.999999).sum() == 20


def test_a_flat_map_tells_nothing():
    flat = {Statistic("QK", "similarity", (1,), "all"): np.full((2, 3, 4), 7, np.float32)}
    for kind in ("similarity", "inv_similarity"):
        for normalise in (maps.per_frame, maps.percentiles_2_98):
            assert not maps.map_of(flat, kind, "QK", (1,), "all", normalise).any()


def test_weights_and_fusions_are_their_formulas():
    a, b, c, d, e = np.random.default_rng(1).random((5, 2, 3, 4), np.float32)
    shallow, middle, deep = maps.w_shallow(a, b), maps.w_middle(c), maps.w_deep(d, e)
    np.testing.assert_allclose(maps.product(shallow, middle, deep), (1 - a) * b * (1 - c) * d * (1 - e), rtol=1e-5)
    np.testing.assert_allclose(
        maps.fused(c, shallow, middle, deep), (c + (1 - a) * b * (1 - c) * (1 - d * (1 - e))) / 2, rtol=1e-5
    )
