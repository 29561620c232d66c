"""Steadiness of planes, shifts and flickers whose figures are known in closed form."""

import cv2
import numpy as np
import pytest

from vmdepth.data.flow import optical_flow
from vmdepth.data.rgbd import rendered_rgbd_frames, reproject
from vmdepth.evaluation.consistency import alignment_error, sample, static_flicker, warp_error

CAMERA = np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])
SHAPE = (30, 40)
ROW, COLUMN = np.indices(SHAPE).astype(np.float64)


def motion(x=0.0, y=0.0, z=0.0):
    """A camera that has moved by (x, y, z): what takes points of the old camera into the new one."""
    to_next = np.eye(4)
    to_next[:3, 3] = -x, -y, -z
    return to_next


def plane(distance, slope=0.0):
    """Inverse depth of a plane z = distance + slope·x: affine in the picture."""
    return (1 - slope * (COLUMN - 20) / 50) / distance


def test_sampling_is_bilinear_up_to_the_outermost_centres():
    ramp = 10 * ROW + COLUMN
    x, y = np.array([2.5, 0, 39, 39.01, -0.01]), np.array([1.0, 29, 0.25, 1, 1])
    np.testing.assert_allclose(sample(ramp, x, y), [12.5, 290, 41.5, np.nan, np.nan])
    np.testing.assert_allclose(sample(np.stack([ramp, -ramp], -1), x[:1], y[:1]), [[12.5, -12.5]])


def test_sampling_beside_nan_is_nan():
    values = np.ones(SHAPE)
    values[3, 4] = np.nan
    assert np.isnan(sample(values, np.array(3.5), np.array(2.5)))
    assert sample(values, np.array(5.5), np.array(2.5)) == 1


def test_tae_is_zero_when_depth_follows_the_camera():
    ahead = motion(z=0.5)
    assert alignment_error(np.full(SHAPE, 2.0), np.full(SHAPE, 1.5), CAMERA, CAMERA, ahead) == pytest.approx(
        0, abs=1e-6
    )


def test_tae_of_depth_that_does_not_follow():
    """Forth: 1.5 m are drawn where 2 m are said; back: 2.5 m. Both are off by a quarter."""
    still = np.full(SHAPE, 2.0)
    assert alignment_error(still, still, CAMERA, CAMERA, motion(z=0.5)) == pytest.approx(0.25)


def test_tae_of_unlike_directions_is_their_mean():
    """A camera at rest, depth 2 m then 3 m: |2 − 3| / 3 forth, |3 − 2| / 2 back."""
    two, three = np.full(SHAPE, 2.0), np.full(SHAPE, 3.0)
    assert alignment_error(two, three, CAMERA, CAMERA, motion()) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_tae_of_what_is_never_seen_again_is_nan():
    assert np.isnan(alignment_error(np.ones(SHAPE), np.ones(SHAPE), CAMERA, CAMERA, motion(x=100)))


def test_opw_is_the_difference_along_the_flow():
    grey = np.full((*SHAPE, 3), 100, np.uint8)
    right = np.zeros((*SHAPE, 2), np.float32)
    right[..., 0] = 1
    ramp = 0.01 * COLUMN
    assert warp_error(ramp, ramp, grey, grey, right) == pytest.approx(0.01)
    assert warp_error(ramp, ramp - 0.01, grey, grey, right) == pytest.approx(0, abs=1e-9)
    assert np.isnan(warp_error(ramp, ramp, grey, grey, 100 * right))


def test_opw_weighs_by_likeness_of_colour():
    """5 of 255 off in each of three channels: exp(−50 · 3 · (5/255)²)."""
    grey, flow = np.full((*SHAPE, 3), 100, np.uint8), np.zeros((*SHAPE, 2), np.float32)
    expected = 0.02 * np.exp(-50 * 3 * (5 / 255) ** 2)
    assert warp_error(np.zeros(SHAPE), np.full(SHAPE, 0.02), grey, grey + 5, flow) == pytest.approx(expected)


@pytest.mark.parametrize("step", [{"z": 0.3}, {"x": 0.07}, {"x": -0.05, "y": 0.03}])
def test_a_moving_camera_is_no_flicker(step):
    """The truth, moved exactly, as its own prediction; then a prediction that jumps by 0.03 1/m."""
    true = plane(2.0, 0.4)
    x, z = step.get("x", 0), step.get("z", 0)
    next_true = plane(2.0 + 0.4 * x - z, 0.4)
    exact = true, next_true, CAMERA, CAMERA, motion(**step)
    assert static_flicker(true, next_true, *exact) == pytest.approx(0, abs=1e-9)
    assert static_flicker(true, next_true + 0.03, *exact) == pytest.approx(0.03, abs=1e-9)
    places = reproject(1 / true, CAMERA, motion(**step), CAMERA)[1]
    found = sample(next_true, places[..., 0], places[..., 1])
    depth = reproject(1 / true, CAMERA, motion(**step), CAMERA)[0]
    np.testing.assert_allclose((found * depth)[np.isfinite(found)], 1, atol=1e-4)  # the plane is where it should be


def test_only_points_in_sight_and_at_rest_flicker():
    true = plane(2.0)
    jump = np.where(COLUMN < 20, 0.5, 0.0)  # the left half jumps, and must not count
    covered = np.where(COLUMN < 20, plane(1.0), true)
    assert static_flicker(true, true + jump, true, covered, CAMERA, CAMERA, motion()) == 0
    unknown = np.where(COLUMN < 21, np.nan, true)
    assert static_flicker(true, true + jump, true, unknown, CAMERA, CAMERA, motion()) == 0
    assert static_flicker(true, true + jump, unknown, true, CAMERA, CAMERA, motion()) == 0
    assert static_flicker(true, true + jump, true, true, CAMERA, CAMERA, motion()) == pytest.approx(0.25)
    assert np.isnan(static_flicker(true, true, true, np.full(SHAPE, np.nan), CAMERA, CAMERA, motion()))


def test_rendered_cameras_say_where_static_points_go():
    """Depth, intrinsics and poses give the flow that the renderer gives; half a pixel off would show."""
    for seed in (0, 1):
        first, second = rendered_rgbd_frames(seed, 2, 42, 56)
        to_next = np.linalg.inv(second.pose) @ first.pose
        _, places = reproject(first.depth, first.intrinsics, to_next, second.intrinsics)
        row, column = np.indices(first.depth.shape)
        still = np.isfinite(first.depth) & ~first.moving
        expected = np.stack([column, row], -1) + first.flow
        np.testing.assert_allclose(places[still], expected[still], atol=2e-3)


def test_flow_of_a_shifted_picture():
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (80, 110, 3), np.uint8), (0, 0), 2)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    flow = optical_flow(np.ascontiguousarray(wide[:, 5:105]), np.ascontiguousarray(wide[:, 2:102]))
    assert np.median(flow[10:-10, 10:-10, 0]) == pytest.approx(3, abs=0.1)
    assert np.median(flow[10:-10, 10:-10, 1]) == pytest.approx(0, abs=0.1)
