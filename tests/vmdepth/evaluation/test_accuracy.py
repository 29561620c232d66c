"""Accuracy on cases whose value is known."""

import numpy as np
import pytest

from vmdepth.evaluation.accuracy import (
    FARTHEST,
    accuracy,
    frame_errors,
    mean_map_accuracy,
    pooled,
)
from vmdepth.fitting import FitMoments, fit_affine


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(1, 20, (4, 10, 12)).astype(np.float32)


def test_inverse_depth_up_to_scale_and_shift_is_perfect(depth):
    figures = accuracy((3 / depth - 0.1).astype(np.float32), depth)
    assert figures.delta1 == 1
    assert figures.absrel < 1e-3
    assert figures.rmse < 1e-2


def test_fit_is_least_squares():
    x = np.array([0.0, 1, 2, 3])
    assert fit_affine(x, 5 * x - 2) == pytest.approx((5, -2))
    assert fit_affine(np.ones(4), x) == pytest.approx((0, 1.5))


def test_a_fit_does_not_depend_on_how_the_numbers_come_in():
    rng = np.random.default_rng(1)
    x = 1e4 + rng.normal(size=1000)  # a mean that would swallow the digits of naive sums of squares
    y = 0.3 * x + rng.normal(size=1000)
    moments = FitMoments()
    for part in np.split(np.arange(1000), [1, 1, 30, 700]):
        moments.add(x[part], y[part])
    assert moments.fit() == pytest.approx(tuple(np.polyfit(x - 1e4, y, 1) - [0, 1e4 * moments.fit()[0]]), rel=1e-9)
    assert moments.fit() == pytest.approx(fit_affine(x, y), rel=1e-9)


def test_delta1_counts_pixels_within_a_quarter(depth):
    guess = 1 / depth
    guess[:, :, :3] /= 1.5  # a quarter of the pixels, off by half
    fitted = fit_affine(guess, 1 / depth)
    ratio = np.maximum((fitted[0] * guess + fitted[1]) * depth, 1 / ((fitted[0] * guess + fitted[1]) * depth))
    assert accuracy(guess, depth).delta1 == pytest.approx((ratio < 1.25).mean())


def test_errors_of_a_frame_are_in_metres_and_relative():
    true = np.array([[2.0, 4.0, 0.0, np.inf]])
    figures = pooled(frame_errors(np.array([[1 / 3, 1 / 3, 9.0, 9.0]]), true, (1, 0))[None])
    assert figures.delta1 == 0
    assert figures.absrel == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert figures.rmse == pytest.approx(1)


def test_depth_is_cut_at_80_metres():
    assert FARTHEST == 80
    true = np.array([[200.0, 40.0]])
    count, within, relative, squared = frame_errors(np.array([[-1.0, 0.0]]), true, (1, 0))
    assert (count, within) == (2, 1)
    assert relative == pytest.approx(0 + 1)
    assert squared == pytest.approx(40**2)


def test_frames_are_pooled_by_pixel():
    errors = np.array([[10, 10, 1, 0], [30, 0, 3, 0], [0, 0, 0, 0]])
    assert pooled(errors).delta1 == 0.25
    assert pooled(errors[2:]) is None


def test_sky_and_unknown_depth_count_for_nothing(depth):
    spoilt = depth.copy()
    spoilt[:, 0] = np.inf
    spoilt[:, 1] = 0
    assert accuracy(1 / depth, spoilt).delta1 == 1
    assert mean_map_accuracy([spoilt, spoilt]).delta1 <= 1  # unknown depth is no depth, and no warning
    with pytest.raises(ValueError, match="no pixel of known depth"):
        accuracy(1 / depth, np.full_like(depth, np.inf))


def test_mean_map_is_perfect_for_clips_that_are_all_alike(depth):
    still = np.broadcast_to(depth[:1], depth.shape)
    assert mean_map_accuracy([still, 2 * still]).delta1 == 1
    assert mean_map_accuracy([depth, depth[:, ::-1]]).delta1 < 0.7
