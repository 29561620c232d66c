"""Networks that were taught one focal length: depth × focal length / metric_focal, for whatever camera there is."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from vmdepth_runtime import CloudSettings, DepthStream, InputError, predict

FOCAL = 300.0
SIZES = [(28, 42), (56, 84), (84, 42)]  # the graph's; twice as large; of another shape


@pytest.fixture(scope="module")
def metric(build_graph):
    return build_graph(depth_kind="metric", metric_focal=FOCAL)


@pytest.fixture(scope="module")
def plain(build_graph):
    return build_graph(depth_kind="metric")


def image(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_focal_length_is_that_of_the_graphs_frame_each_axis_resized_on_its_own(metric, plain, height, width):
    frame = image(height, width)
    expected = predict(frame, model=plain).depth * ((500 * 42 / width + 400 * 28 / height) / 2 / FOCAL)
    intrinsics = (500, 400, width / 2, height / 2)
    prediction = predict(frame, model=metric, intrinsics=intrinsics)
    np.testing.assert_allclose(prediction.depth, expected, rtol=1e-6)
    assert (prediction.camera.fx, prediction.camera.fy) == (500, 400)
    with DepthStream(metric, intrinsics=intrinsics) as stream:
        result = stream(frame)
        np.testing.assert_allclose(result.depth, expected, rtol=1e-6)
        np.testing.assert_array_equal(stream.predict(frame).depth, prediction.depth)
        wider = stream.predict(frame, fov=90)
    focal = width / 2 / np.tan(np.radians(45)) * (42 / width + 28 / height) / 2
    np.testing.assert_allclose(wider.depth, predict(frame, model=plain).depth * (focal / FOCAL), rtol=1e-6)


def test_what_is_assumed_is_said_once(metric, plain):
    frame = image(84, 42)
    with DepthStream(metric) as stream, pytest.warns(UserWarning, match="longer side of a frame spans 60 degrees"):
        depth = stream(frame).depth.copy()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stream(image(28, 42))
            stream.predict(frame)
    focal = 42 / np.tan(np.radians(30))  # of the longer side, which is the height
    expected = predict(frame, model=plain).depth * (focal * (42 / 42 + 28 / 84) / 2 / FOCAL)
    np.testing.assert_allclose(depth, expected, rtol=1e-6)


def test_a_camera_that_nothing_asks_for_is_refused_by_a_stream_and_kept_by_a_prediction(plain):
    with pytest.raises(InputError, match=r"--fov 60: .*needs no camera for its depth"):
        DepthStream(plain, fov=60)
    prediction = predict(image(28, 42), model=plain, fov=60)
    assert len(prediction.points(settings=CloudSettings(max_jump=0)).points) > 0
    with pytest.raises(InputError, match="points need the camera"):
        predict(image(28, 42), model=plain).points()


def test_intrinsics_that_do_not_fit_a_frame_are_refused(metric):
    with DepthStream(metric, intrinsics=(30, 30, 60, 20)) as stream:
        stream(image(56, 84))
        with pytest.raises(InputError, match="principal point 60,20 is far from the middle"):
            stream(image(28, 42))
