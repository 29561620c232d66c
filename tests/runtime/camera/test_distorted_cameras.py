"""Cameras that bend lines: what was flat is flat in the cloud, after rectifying and without."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from vmdepth_runtime import InputError, Lens, Rectifier
from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.camera.rays import rays
from vmdepth_runtime.camera.rectifier import WIDEST_RECTIFIED
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.points import back_project

WIDTH, HEIGHT = 320, 240
NORMAL, DISTANCE = np.array([0.15, -0.1, 1.0]) / np.sqrt(1.0325), 3.0  # of a plane: NORMAL · point = DISTANCE
FLAT = 0.005  # of the distance of a point, by which it may be off the plane

BARREL = Distortion("plumb_bob", (-0.36, 0.15, 0.001, -0.0008, -0.02))
PINCUSHION = Distortion("plumb_bob", (0.25, 0.05, 0.0, 0.001, 0.0))
RATIONAL = Distortion("rational_polynomial", (0.3, -0.5, 0.0005, 0.0002, -0.1, 0.65, -0.45, -0.2))
FISHEYE = Distortion("equidistant", (-0.02, 0.015, -0.008, 0.001))
CAMERAS = [
    pytest.param(BARREL, 240.0, id="barrel"),
    pytest.param(PINCUSHION, 260.0, id="pincushion"),
    pytest.param(RATIONAL, 270.0, id="rational"),
    pytest.param(FISHEYE, 150.0, id="fisheye"),  # 122 degrees wide
    pytest.param(FISHEYE, 95.0, id="half-the-world"),  # 193 degrees
]


def bend(distortion, x, y):
    """Where a ray x / z, y / z comes out, by the formulas (OpenCV's pages on calib3d; Kannala & Brandt 2006)."""
    if distortion.model == "equidistant":
        radius = np.maximum(np.hypot(x, y), 1e-12)
        angle = np.arctan(radius)
        bent = angle + sum(k * angle ** (2 * n + 3) for n, k in enumerate(distortion.coefficients))
        return x * bent / radius, y * bent / radius
    k1, k2, p1, p2, k3, k4, k5, k6 = (*distortion.coefficients, 0.0, 0.0, 0.0)[:8]
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    across = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    return across, y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y


def camera_of(focal):
    return PinholeCamera(focal, focal * 1.02, 162.5, 117.0)


@cache
def plane_seen_by(distortion, camera):
    """z of the plane at every pixel, NaN beyond 80 degrees: by Newton's method with differences of `bend`."""
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    wanted = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy])
    angle = np.hypot(*wanted)
    at = wanted * (np.tan(np.minimum(angle, 1.45)) / np.maximum(angle, 1e-12) if distortion is FISHEYE else 1)
    step = 1e-7
    for _ in range(20):
        here = np.stack(bend(distortion, *at))
        by_x = (np.stack(bend(distortion, at[0] + step, at[1])) - here) / step
        by_y = (np.stack(bend(distortion, at[0], at[1] + step)) - here) / step
        off, determinant = wanted - here, by_x[0] * by_y[1] - by_y[0] * by_x[1]
        at = at + np.stack([by_y[1] * off[0] - by_y[0] * off[1], by_x[0] * off[1] - by_x[1] * off[0]]) / determinant
    missed = np.hypot(*(np.stack(bend(distortion, *at)) - wanted)) * camera.fx
    at[:, ~((missed < 1e-3) & (np.hypot(*at) < np.tan(np.radians(80))))] = np.nan
    depth = DISTANCE / (np.moveaxis(at, 0, -1) @ NORMAL[:2] + NORMAL[2])
    return np.where(depth > 0, depth, np.nan).astype(np.float32)


def off_plane(points):
    """The farthest that one of the points is from the plane, as a share of its own distance."""
    return (np.abs(points @ NORMAL - DISTANCE) / np.linalg.norm(points, axis=1)).max()


def cloud(depth, camera, distortion=None):
    settings = CloudSettings(max_jump=0, max_range=30)
    image = np.zeros((*depth.shape, 3), np.uint8)
    return back_project(depth, image, camera, None, settings, distortion=distortion).points


@pytest.mark.filterwarnings("ignore:.*encountered in divide")  # of pixels without a ray
@pytest.mark.parametrize(("distortion", "focal"), CAMERAS)
def test_a_plane_is_flat_in_the_cloud_of_a_bent_picture(distortion, focal):
    camera = camera_of(focal)
    depth = plane_seen_by(distortion, camera)
    points = cloud(depth, camera, distortion)
    assert off_plane(points) < FLAT
    assert len(points) > 0.95 * np.count_nonzero(depth < 20)
    assert off_plane(cloud(depth, camera)) > 2 * FLAT  # taken for a pinhole's


@pytest.mark.filterwarnings("ignore:.*encountered in divide")
@pytest.mark.parametrize(("distortion", "focal"), CAMERAS)
def test_a_plane_is_flat_in_the_cloud_of_the_rectified_picture(distortion, focal):
    """Its depth is in the picture: what comes out is what a network would see, to 1 of 255."""
    camera = camera_of(focal)
    inverse = 1 / plane_seen_by(distortion, camera)
    rectify = Rectifier(Lens("c.yaml", pinhole=camera, size=(WIDTH, HEIGHT), distortion=distortion), 320, 240)
    straight = rectify.lens.camera(WIDTH, HEIGHT)
    assert (rectify.lens.distortion, rectify.lens.given) == (None, "c.yaml, rectified")
    x, y = rays(straight, None, range(HEIGHT), range(WIDTH))
    there = 1 / (DISTANCE / (x * NORMAL[0] + y * NORMAL[1] + NORMAL[2]))
    low, high = there.min() * 0.98, there.max() * 1.02
    picture = np.nan_to_num(np.clip((inverse - low) / (high - low) * 255, 0, 255).round(), nan=0).astype(np.uint8)
    seen = rectify(np.repeat(picture[..., None], 3, axis=-1))
    assert (seen.shape, seen.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert seen.min() > 0  # full to the edges
    depth = 1 / (seen[..., 0] / 255 * (high - low) + low)
    points = cloud(depth.astype(np.float32), straight)
    assert len(points) == WIDTH * HEIGHT
    assert off_plane(points) < FLAT


@pytest.mark.parametrize(("distortion", "focal"), CAMERAS)
def test_a_rectified_frame_sees_as_much_as_keeps_it_full(distortion, focal):
    """Its edge comes from the edge of the frame, or it is as wide as may be; and nothing from beyond."""
    camera = camera_of(focal)
    lens = Lens("c.yaml", pinhole=camera, size=(WIDTH, HEIGHT), distortion=distortion)
    straight = Rectifier(lens, WIDTH, HEIGHT).lens.camera(WIDTH, HEIGHT)
    assert straight.fx / straight.fy == pytest.approx(camera.fx / camera.fy)
    assert (straight.cx, straight.cy) == (camera.cx, camera.cy)
    x, y = np.broadcast_arrays(*rays(straight, None, range(HEIGHT), range(WIDTH)))
    bent_x, bent_y = bend(distortion, x.astype(float), y.astype(float))
    columns, rows = bent_x * camera.fx + camera.cx, bent_y * camera.fy + camera.cy
    margin = min(columns.min(), rows.min(), WIDTH - 1 - columns.max(), HEIGHT - 1 - rows.max())
    wide = 2 * np.degrees(np.arctan(WIDTH / 2 / straight.fx))
    assert margin > -0.52
    assert margin < -0.48 or wide == pytest.approx(WIDEST_RECTIFIED)


def test_frames_of_another_size_of_the_same_shape_are_rectified_likewise():
    lens = Lens("c.yaml", pinhole=camera_of(240.0), size=(WIDTH, HEIGHT), distortion=BARREL)
    rectify = Rectifier(lens, WIDTH, HEIGHT)
    ramp = np.repeat(np.linspace(0, 250, 2 * WIDTH, dtype=np.float32)[None], 2 * HEIGHT, axis=0)
    large = np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8)
    small = large.reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    shrunk = rectify(large).reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(rectify(small), shrunk, atol=2)
    with pytest.raises(InputError, match="is of 320x240 frames, and the picture is 100x320, of another shape"):
        rectify(np.zeros((320, 100, 3), np.uint8))


def test_what_cannot_be_rectified_is_refused_in_a_line():
    with pytest.raises(InputError, match=r"c.yaml: says nothing of distortion, so there is nothing to rectify; give"):
        Rectifier(Lens("c.yaml", pinhole=camera_of(240.0)), WIDTH, HEIGHT)
    wild = Lens("c.yaml", pinhole=camera_of(240.0), distortion=Distortion("plumb_bob", (-90.0, 0, 0, 0, 0)))
    with pytest.raises(InputError, match=r"less than 0.2 of the frame would be left each way; are the distortion coef"):
        Rectifier(wild, WIDTH, HEIGHT)


def test_pixels_without_a_ray_have_no_point():
    """Where the model folds back, and beyond what a fisheye has before it."""
    for folding, focal in ((Distortion("plumb_bob", (-0.3, 0, 0, 0, 0)), 130.0), (FISHEYE, 60.0)):
        x, y = rays(camera_of(focal), folding, range(HEIGHT), range(WIDTH))
        assert np.isnan(x[0, 0])
        assert np.isnan(y[-1, -1])
        assert np.isfinite(x[80:160, 120:200]).all()
        points = cloud(np.ones((HEIGHT, WIDTH), np.float32), camera_of(focal), folding)
        assert len(points) == np.count_nonzero(np.isfinite(x)) < 0.9 * WIDTH * HEIGHT
        assert np.isfinite(points).all()
        assert np.abs(points).max() < 12
