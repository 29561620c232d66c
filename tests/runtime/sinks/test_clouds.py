"""The unit of relative clouds, frame after frame."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.sinks.clouds import Clouds


@pytest.fixture
def depth_of(facts, make):
    """What gives the z of frame after frame, each of one depth everywhere."""
    (image,) = make.noise(1)

    def make_clouds(**known):
        clouds = Clouds(facts(*image.shape[:2], lens=Lens.of(60.0), **known))
        return lambda depth: clouds.of(image, np.full(image.shape[:2], depth, np.float32), {}).points[:, 2]

    return make_clouds


def test_the_unit_is_of_the_first_frame_that_has_depth(depth_of):
    z = depth_of()
    assert len(z(np.nan)) == 0
    np.testing.assert_allclose(z(50), 1)
    assert len(z(np.nan)) == 0
    np.testing.assert_allclose(z(25), 2)


def test_the_unit_is_of_the_run_where_that_knows_one(depth_of):
    np.testing.assert_allclose(depth_of(near=100.0)(50), 2)


def test_depth_that_is_no_inverse_is_z(depth_of):
    np.testing.assert_allclose(depth_of(near=100.0, depth_kind="metric")(50), 50)


def test_clouds_without_a_point_are_told_once(facts, make):
    (image,) = make.noise(1)
    told = []
    clouds = Clouds(
        facts(48, 64, lens=Lens.of(60.0), depth_kind="metric", cloud=CloudSettings(max_range=3)), told.append
    )
    for depth in (np.nan, 2, 4, 5):
        clouds.of(image, np.full((48, 64), depth, np.float32), {})
    (line,) = told
    assert line.startswith("the clouds of some frames have no point, though there is depth; --max-range")
