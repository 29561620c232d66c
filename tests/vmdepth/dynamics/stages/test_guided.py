"""From coarse maps to masks with edges, against plain formulas and on arrays whose edges are known."""

import numpy as np
import pytest

from vmdepth.dynamics.stages import guided
from vmdepth_runtime.errors import InputError


def least_squares_filter(values, guides, radius, softness):
    """The guided filter as it is defined: a regression in every window, and the mean of what they say of a pixel."""
    height, width = values.shape
    said = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
            guide, p = guides[window].reshape(-1, guides.shape[-1]).astype(float), values[window].ravel().astype(float)
            centred = guide - guide.mean(0)
            covariance = centred.T @ centred / len(p) + softness * np.eye(guides.shape[-1])
            slope = np.linalg.solve(covariance, centred.T @ (p - p.mean()) / len(p))
            said[0][window] += (guides[window] - guide.mean(0)) @ slope + p.mean()
            said[1][window] += 1
    return said[0] / said[1]


def test_every_window_is_a_regression_up_to_the_border():
    rng = np.random.default_rng(0)
    values, guides = rng.random((9, 12), np.float32), rng.random((9, 12, 4), np.float32)
    for radius, softness in ((2, 1e-3), (20, 0.1)):
        expected = least_squares_filter(values, guides, radius, softness)
        np.testing.assert_allclose(guided.guided_filter(values, guides, radius, softness), expected, atol=2e-6)


@pytest.fixture(scope="module")
def disc():
    """A disc before a wall of another colour and depth, and the map of its patches: the share of each that it fills."""
    rows, columns = np.mgrid[:84, :112]
    there = (rows - 40) ** 2 + (columns - 55) ** 2 < 23**2
    rng = np.random.default_rng(0)
    image = np.where(there[..., None], [150, 90, 80], [80, 110, 150]) + rng.normal(0, 4, (84, 112, 3))
    coarse = there.reshape(6, 14, 8, 14).mean((1, 3), dtype=np.float32)
    return there, image.clip(0, 255).astype(np.uint8), coarse


@pytest.mark.parametrize("told_by", ["colour", "depth"])
def test_maps_follow_the_edges_of_picture_and_depth(disc, told_by):
    there, image, coarse = disc
    depth = np.where(there, 2, 3).astype(np.float32)
    guides = guided.rgbd_guides(image, depth, inverse=False)
    if told_by == "colour":
        guides[..., 3] = 0.5
    else:
        guides[..., :3] = 0.5
    blurred = guided.upsampled(coarse[None], 84, 112)[0]
    sharp = guided.guided_filter(blurred, guides)

    def wrong(soft):
        return ((soft > 0.5) != there).sum()

    assert wrong(sharp) < 0.4 * wrong(blurred)


def test_depth_guides_whatever_its_scale_and_kind():
    depth = np.random.default_rng(0).uniform(1, 5, (20, 30)).astype(np.float32)
    near = guided.nearness(depth, inverse=False)
    assert (near.min(), near.max()) == (0, 1)
    np.testing.assert_allclose(guided.nearness(1000 * depth, inverse=False), near, atol=1e-5)
    np.testing.assert_allclose(guided.nearness(7 / depth - 1, inverse=True), near, atol=1e-5)
    sky = np.where(depth > 4, np.inf, depth).astype(np.float32)
    none = np.where(depth > 4, np.nan, depth).astype(np.float32)
    for partial in (sky, none, np.nan_to_num(none)):
        assert (guided.nearness(partial, inverse=False)[depth > 4] == 0).all()
    for empty in (np.zeros_like(depth), np.full_like(depth, np.nan)):
        assert not guided.nearness(empty, inverse=False).any()
    assert guided.nearness(np.float32(2) + 1e-6 * depth, inverse=False).max() < 0.01  # flat but for noise


def test_maps_grow_as_torch_does_without_aligned_corners():
    import torch

    maps = np.random.default_rng(0).random((2, 3, 4), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], size=(42, 56), mode="bilinear", align_corners=False
    )[:, 0]
    np.testing.assert_allclose(guided.upsampled(maps, 42, 56), expected, atol=1e-6)


def test_frames_are_weighed_by_a_gaussian_over_those_that_there_are():
    maps = np.zeros((7, 1, 1), np.float32)
    maps[0] = 1
    near, far = np.exp(-0.5), np.exp(-2)
    sums = np.array([1 + near + far, 1 + 2 * near + far, 1 + 2 * near + 2 * far])
    expected = [1 / sums[0], near / sums[1], far / sums[2], 0, 0, 0, 0]
    np.testing.assert_allclose(guided.smoothed_over_frames(maps)[:, 0, 0], expected, atol=1e-6)
    still = np.random.default_rng(0).random((1, 3, 4), np.float32).repeat(5, 0)
    np.testing.assert_allclose(guided.smoothed_over_frames(still), still, atol=1e-6)
    np.testing.assert_allclose(guided.smoothed_over_frames(still[:1]), still[:1], atol=1e-6)


def test_weak_places_count_where_they_hang_together_with_strong_ones_of_their_frame():
    maps = np.zeros((2, 4, 8), np.float32)
    maps[:, 1, 1:4] = 0.4
    maps[0, 1, 1] = 0.7
    maps[0, 3, 6] = 0.4
    moves = guided.hysteresis(maps)
    assert moves[0, 1, 1:4].all()
    assert moves.sum() == 3  # nothing of the other frame, nor of the place apart


@pytest.mark.parametrize(("high", "low"), [(0.3, 0.6), (1.2, 0.3), (0.6, -0.1)])
def test_thresholds_out_of_order_are_refused(high, low):
    with pytest.raises(InputError, match="0 ≤ low ≤ high ≤ 1"):
        guided.hysteresis(np.zeros((1, 2, 2), np.float32), high, low)
