"""The gradients of the paper's refinement, against an evaluation of the formulas and against finite differences."""

import numpy as np
import pytest

from vmdepth.dynamics.refinement.gradient import point_gradients
from vmdepth.dynamics.refinement.options import RefineOptions
from vmdepth.dynamics.refinement.scene import bilinear, scene_of

HEIGHT, WIDTH = 24, 32


def test_sums_are_those_of_the_reference(shared_reference):
    folder = shared_reference / "vggt4d"
    with np.load(folder / "io_vggt4d_refine.npz") as scene, np.load(folder / "own_projgrad.npz") as expected:
        moves = np.unpackbits(scene["coarse_box"], axis=1)[:, : 112 * 140].reshape(5, 112, 140).astype(bool)
        images = (scene["image_u8"] / 256).astype(np.float32)
        clip, _ = scene_of(images, scene["depth"], moves, scene["cam2world"], scene["K"], 1.0)
        frame, pixels = int(expected["frame"]), expected["pixel_index"]
        geometric, photometric, samples = point_gradients(clip, frame, pixels, RefineOptions())
        np.testing.assert_allclose(clip.points(frame, pixels), expected["point_world"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(geometric, expected["agg_proj"], rtol=0, atol=2e-6)
        np.testing.assert_allclose(photometric, expected["agg_photo"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(samples, (expected["visible"] & ~expected["in_coarse_mask"]).sum(axis=0))


@pytest.fixture(scope="module")
def slopes():
    """Two views of ground that rises and falls, from places that differ; the second has all of it farther away."""
    rng = np.random.default_rng(3)
    across, down = np.meshgrid(np.linspace(0, 3, WIDTH), np.linspace(0, 2, HEIGHT))
    depth = np.stack([1.0 + 0.2 * np.sin(across) * np.cos(down), 1.3 + 0.1 * np.cos(across + down)])
    cameras = np.tile(np.eye(4), (2, 1, 1))
    cameras[1, :3, :3] = np.linalg.qr(np.eye(3) + 0.03 * rng.standard_normal((3, 3)))[0]
    cameras[1, :3, :3] *= np.sign(np.diagonal(cameras[1, :3, :3]))
    cameras[1, :3, 3] = 0.03, -0.02, 0.01
    intrinsics = np.tile(np.array([[30.0, 0, 16], [0, 28, 12], [0, 0, 1]]), (2, 1, 1))
    images = rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
    return scene_of(images, depth, np.zeros(depth.shape, bool), cameras, intrinsics, 1.0)[0]


def test_gradient_is_the_slope_of_half_the_squared_difference(slopes):
    """½ r² grows by the gradient where a point is moved: seen in the lengths of the second view's residuals."""
    pixels = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)[6:-6, 6:-6].ravel()
    geometric, _, samples = point_gradients(slopes, 0, pixels, RefineOptions())
    assert (samples == 1).all()

    def half_square(by):
        (seen,) = slopes.projected(0, slopes.points(0, pixels) + by, 1)
        return (seen.place[:, 2] - bilinear(slopes.depth, seen, -0.5)) ** 2 / 2

    step = 1e-6
    for axis in range(3):
        by = np.eye(3)[axis] * step
        slope = (half_square(by) - half_square(-by)) / (2 * step)
        assert np.quantile(np.abs(slope - geometric[:, axis]), 0.9) < 1e-5  # but where the step crosses a pixel's rim
