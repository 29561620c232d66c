"""Scale and shift from measured metres: what they are with wrong, sparse and noisy measurements, and where there are
none."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime.depth.scale.fit import FEWEST, NoFit, fit_errors, fit_metres, some_points
from vmdepth_runtime.depth.scale.metres import Metres
from vmdepth_runtime.depth_kinds import DEPTH_KINDS

RELATIVE, SCALED = DEPTH_KINDS["relative"], DEPTH_KINDS["scaled"]
SCALE, SHIFT = 0.37, 0.06  # 1/m


def measured(count, wrong=0.0, noise=0.0, seed=0):
    """Relative depth and metres of points in a room, of which a share is measured wrong, and the share's places."""
    random = np.random.default_rng(seed)
    metres = random.uniform(0.8, 6.0, count)
    depth = (1 / metres - SHIFT) / SCALE
    depth += random.normal(0, noise, count) * depth.std()
    bad = random.random(count) < wrong
    return depth, np.where(bad, random.uniform(0.3, 12, count), metres), bad


@pytest.mark.parametrize("count", [200, 20_000])
@pytest.mark.parametrize("wrong", [0.0, 0.05, 0.3, 0.45])
def test_up_to_half_of_the_measurements_may_be_wrong(count, wrong):
    depth, metres, bad = measured(count, wrong)
    fit = fit_metres(depth, metres, RELATIVE)
    assert fit.scale == pytest.approx(SCALE, rel=1e-4)
    assert fit.shift == pytest.approx(SHIFT, abs=1e-4)
    assert fit_errors(fit, depth[~bad], metres[~bad]).mean < 1e-4


@pytest.mark.parametrize("count", [200, 20_000])
def test_noise_of_the_network_moves_scale_and_shift_by_less_than_a_percent(count):
    depth, metres, _ = measured(count, 0.05, noise=0.02)
    fit = fit_metres(depth, metres, RELATIVE)
    assert fit.scale == pytest.approx(SCALE, rel=0.01)
    assert fit.shift == pytest.approx(SHIFT, abs=0.01 / np.median(metres))


def test_what_is_far_counts_as_what_is_near_does():
    """Least squares of inverse depth would leave it out: a tenth of 40 m is 2.5 thousandths of 1/m."""
    random = np.random.default_rng(0)
    metres = np.concatenate([random.uniform(1, 2, 300), random.uniform(30, 40, 300)])
    depth = (1 / metres - SHIFT) / SCALE
    fit = fit_metres(depth, metres * random.normal(1, 0.1, 600), RELATIVE)
    assert np.median(np.abs(1 / (fit.scale * depth + fit.shift) / metres - 1)[300:]) < 0.03


def test_scaled_depth_takes_a_factor_alone():
    _, metres, _ = measured(500)
    _, seen, _ = measured(500, 0.3)
    fit = fit_metres(metres / 2.5, seen, SCALED)
    assert fit.scale == pytest.approx(2.5, rel=0.01)
    assert fit.shift is None


def test_nothing_is_said_to_be_farther_than_twice_what_was_measured():
    depth, metres, _ = measured(1000)
    fit = fit_metres(depth, metres, RELATIVE)
    assert fit.farthest == pytest.approx(2 * np.percentile(metres, 99), rel=0.01)
    beyond = np.array([-5.0, -1.0], np.float32)
    fit.apply(beyond)
    np.testing.assert_allclose(beyond, fit.farthest, rtol=1e-6)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ((np.arange(99.0), np.arange(1.0, 100.0)), f"99 points of measured depth, and a fit takes {FEWEST}"),
        ((np.arange(200.0), np.zeros(200)), "0 points"),
        ((np.full(200, 3.0), np.linspace(1, 2, 200)), "flat"),
        (
            (np.random.default_rng(1).normal(5, 1, 400), np.linspace(2, 2.2, 400)),
            "one distance for all of it|nearer by",
        ),
        ((np.linspace(1, 2, 200), np.full(200, 2.0)), "one distance for all of it"),
        ((np.random.default_rng(1).random(200) + 1, np.full(200, 0.7)), "one distance for all of it"),
        ((np.linspace(1, 2, 200), np.linspace(1, 2, 200)), "nearer by the network is farther by measurement"),
    ],
)
def test_where_there_is_no_fit_it_says_why(points, why):
    with pytest.raises(NoFit, match=why):
        fit_metres(*points, RELATIVE)


def test_errors_are_shares_of_the_distance():
    errors = fit_errors(Metres(1.0, 0.0), np.array([1.0, 0.5, 0.25]), np.array([1.0, 2.5, 2.0]))
    assert errors.points == 3
    assert errors.median == pytest.approx(0.2)
    assert errors.mean == pytest.approx((0 + 0.2 + 1) / 3)
    assert errors.delta1 == pytest.approx(1 / 3)  # a factor of 1.25 itself is not within it


def test_some_points_are_those_that_were_measured():
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    metres = np.array([[0, 1, np.nan, np.inf], [2, -1, 3, 4], [0, 0, 0, 5]], np.float32)
    got = some_points(depth, metres, 10, np.random.default_rng(0))
    np.testing.assert_array_equal(got[0], [1, 4, 6, 7, 11])
    np.testing.assert_array_equal(got[1], [1, 2, 3, 4, 5])
    fewer = some_points(depth, metres, 3, np.random.default_rng(0))
    assert len(fewer[0]) == 3
    assert {(d, z) for d, z in zip(*fewer, strict=True)} <= {(d, z) for d, z in zip(*got, strict=True)}
