"""Clouds: where points are, how many, how far, and none between near and far."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime import InputError
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.points import back_project, near_of

HEIGHT, WIDTH = 240, 320
CAMERA = PinholeCamera.of_fov(60, WIDTH, HEIGHT)
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def cloud(depth, near=None, **settings):
    image = np.stack([ROWS, COLUMNS % 256, COLUMNS // 256], axis=-1).astype(np.uint8)
    return back_project(depth.astype(np.float32), image, CAMERA, near, CloudSettings(**settings))


def test_points_lie_on_the_rays_of_their_pixels_and_carry_their_colours():
    points, colours = cloud(2 + COLUMNS / 100)
    assert (points.dtype, colours.dtype) == (np.float32, np.uint8)
    assert points.shape == colours.shape == (HEIGHT * WIDTH, 3)
    columns = colours[:, 1] + 256.0 * colours[:, 2]
    np.testing.assert_allclose(points[:, 2], 2 + columns / 100, rtol=1e-6)
    np.testing.assert_allclose(points[:, 0] / points[:, 2] * CAMERA.fx + CAMERA.cx, columns, atol=1e-3)
    np.testing.assert_allclose(points[:, 1] / points[:, 2] * CAMERA.fy + CAMERA.cy, colours[:, 0], atol=1e-3)
    assert np.rad2deg(np.arctan2(WIDTH / 2, CAMERA.fx)) == pytest.approx(30)


def step_between(near, far, columns):
    """A near half and a far one, with a soft edge of so many columns, straight in inverse depth."""
    share = np.clip((COLUMNS - WIDTH / 2 + 0.5) / columns + 0.5, 0, 1)
    return 1 / (share / far + (1 - share) / near)


@pytest.mark.parametrize("columns", [1, 3, 6])
def test_nothing_hangs_between_near_and_far(columns):
    depth = step_between(1.0, 4.0, columns)
    everything = cloud(depth, max_jump=0).points[:, 2]
    assert ((everything > 1.02) & (everything < 3.98)).any() == (columns > 1)
    points = cloud(depth).points
    np.testing.assert_allclose(np.minimum(points[:, 2] - 1, 4 - points[:, 2]), 0, atol=0.02)
    assert len(points) > 0.9 * depth.size
    inverse = cloud(1 / depth, near=1.0).points
    np.testing.assert_allclose(inverse, points, rtol=1e-5)  # the rule is the same for depth and inverse depth


def test_a_slanted_floor_stays():
    inverse = np.maximum(ROWS - 60, 0) / (HEIGHT - 60)  # the horizon at a quarter of the height
    points = cloud(inverse, near=1.0).points
    assert len(points) > 0.8 * np.count_nonzero(inverse)
    assert points[:, 2].max() > 5
    _, y, z = points.T
    np.testing.assert_allclose(CAMERA.fy * y + (CAMERA.cy - 60) * z, HEIGHT - 60, rtol=1e-4)  # one plane


def test_what_has_no_depth_has_no_point_and_takes_its_neighbours_not_along():
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[50, 60], depth[51, 80], depth[52, 100], depth[53, 120] = np.nan, np.inf, 0, -1
    assert len(cloud(depth).points) == depth.size - 4
    assert len(cloud(np.full((HEIGHT, WIDTH), np.nan)).points) == 0
    assert near_of(np.full((HEIGHT, WIDTH), np.nan, np.float32)) is None


def test_what_is_farther_than_the_limit_is_left_out():
    depth = 1 + COLUMNS / 10
    assert cloud(depth).points[:, 2].max() > 30
    assert 4.8 < cloud(depth, max_range=5).points[:, 2].max() < 5
    assert 19 < cloud(1 / depth, near=1.0).points[:, 2].max() < 20
    assert cloud(1 / depth, near=1.0, max_range=100).points[:, 2].max() > 30


def test_sky_stands_at_the_limit_where_it_is_wanted():
    inverse = np.where(ROWS < 80, 0, ROWS / HEIGHT)  # above the roofs a network says nothing at all, or nearly
    inverse[:, 100:200] = np.where(ROWS[:, 100:200] < 80, -1e-5 * COLUMNS[:, 100:200], inverse[:, 100:200])
    assert not (cloud(inverse, near=1.0, max_jump=0).points[:, 2] > 4).any()
    for far in (None, 50.0):
        points, colours = cloud(inverse, near=1.0, sky=True, max_range=far)
        sky = colours[:, 0] < 80
        np.testing.assert_allclose(points[sky, 2], far or 20, rtol=1e-6)
        assert np.count_nonzero(sky) == 79 * WIDTH  # the edge is left out
        assert points[~sky, 2].max() < 4
    depth = 1 + COLUMNS / 10
    depth[0, 0], depth[5, 5] = np.inf, np.nan
    z = cloud(depth, sky=True, max_range=5, max_jump=0).points[:, 2]
    np.testing.assert_allclose(np.sort(z), np.sort(np.minimum(depth[~np.isnan(depth)], 5)), rtol=1e-6)
    with pytest.raises(InputError, match="--sky: puts what is very far at --max-range, which has to be given"):
        cloud(depth, sky=True)
    for near in (None, 1.0):
        with pytest.raises(InputError, match="--sky: puts what is very far at --max-range, and inf is no place"):
            cloud(depth, near, sky=True, max_range=float("inf"))


def test_what_a_network_takes_for_sky_stands_there_too_and_is_sure():
    sky = np.zeros((24, 32), np.float32)
    sky[:8] = 0.9
    confidence = np.where(sky > 0.3, 1, 2 + np.arange(32, dtype=np.float32)[None])  # of sky none is sure
    image = np.repeat(ROWS[..., None], 3, axis=-1).astype(np.uint8)
    depth, outputs = np.full((HEIGHT, WIDTH), 3, np.float32), {"sky": sky, "confidence": confidence}
    settings = CloudSettings(sky=True, max_range=9, max_jump=0, confidence_percentile=50)
    points, colours = back_project(depth, image, CAMERA, None, settings, outputs)
    above = colours[:, 0] < 80
    np.testing.assert_array_equal(points[:, 2], np.where(above, np.float32(9), np.float32(3)))
    assert (np.count_nonzero(above), np.count_nonzero(~above)) == (80 * WIDTH, 160 * WIDTH / 2)
    failed = np.full_like(depth, np.nan)
    assert len(back_project(failed, image, CAMERA, None, settings, outputs).points) == 0


@pytest.mark.parametrize("most", [1, 100, 5_000, 20_000, 76_799, 76_800])
def test_a_cloud_is_thinned_out_evenly_to_the_size_that_is_wanted(most):
    points, colours = cloud(np.full((HEIGHT, WIDTH), 2.0), max_points=most)
    assert most / 5 < len(points) <= most
    rows = np.unique(colours[:, 0])
    assert len(np.unique(np.diff(rows))) <= 1
    if most >= 100:
        np.testing.assert_allclose(points.mean(axis=0), [0, 0, 2], atol=0.05)


def test_a_range_before_what_is_nearest_is_refused_of_relative_depth_alone():
    with pytest.raises(InputError, match=r"--max-range 0\.5: relative depth is 1 where it is nearest"):
        CloudSettings(max_range=0.5).check_range(inverse=True)
    CloudSettings(max_range=0.5).check_range(inverse=False)


@pytest.mark.parametrize(
    "bad", [{"max_points": 0}, {"max_range": 0.0}, {"max_range": float("nan")}, {"max_jump": -0.1}]
)
def test_settings_that_cannot_be_meant_are_refused(bad):
    with pytest.raises(InputError, match="--max-"):
        CloudSettings(**bad)
