from __future__ import annotations

import cv2
import numpy as np
import pytest

from vmdepth_runtime import DepthStream, InputError, bundled
from vmdepth_runtime.depth.resize import DepthResizer

LUMA = np.array([0.25, 0.5, 0.25], np.float32) / 256


@pytest.fixture
def stream(luma_model):
    with DepthStream(luma_model) as stream:
        yield stream


def test_depth_comes_back_at_the_frames_size(stream):
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    result = stream(image)
    small = cv2.resize(image, (42, 28), interpolation=cv2.INTER_AREA)
    expected = small.astype(np.float32) @ LUMA / 2
    np.testing.assert_array_equal(result.model_depth, expected)
    np.testing.assert_array_equal(result.depth, cv2.resize(expected, (160, 120)))
    assert result.depth.dtype == np.float32
    assert result.descriptor.shape == (3,)
    assert result.state_change > 0
    assert result.step_ms > 0


def test_cubic_resizing_is_that_of_the_official_preparation(luma_model):
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    with DepthStream(luma_model, resize="cubic") as stream:
        got = stream(image).model_depth
    exact = cv2.resize(image / 255.0, (42, 28), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255
    # The graph's door takes whole grey levels: half of one is all that may be lost.
    np.testing.assert_allclose(got * 2, exact.astype(np.float32) @ LUMA, atol=1 / 256)


def test_after_cubic_resizing_depth_comes_back_corner_on_corner():
    depth = np.random.default_rng(0).random((5, 7), np.float32)
    for height, width in ((9, 13), (4, 20)):
        out = np.empty((height, width), np.float32)
        DepthResizer("cubic")(depth, out)
        along = np.stack([np.interp(np.linspace(0, 6, width), np.arange(7), row) for row in depth])
        expected = np.stack([np.interp(np.linspace(0, 4, height), np.arange(5), column) for column in along.T], axis=1)
        np.testing.assert_allclose(out, expected, atol=0.02)  # older OpenCV places samples by 32nds of a pixel


@pytest.mark.parametrize("size", [(28, 42), (14, 14), (15, 300), (300, 15), (239, 321)])
def test_any_size_from_one_patch_up(stream, size):
    result = stream(np.full((*size, 3), 128, np.uint8))
    assert result.depth.shape == size
    np.testing.assert_allclose(result.depth, 0.25, atol=1e-6)


def test_it_remembers_and_reset_forgets(stream):
    white, black = np.full((28, 42, 3), 255, np.uint8), np.zeros((28, 42, 3), np.uint8)
    stream(white)
    assert stream(black).depth.max() > 0
    stream.reset()
    assert stream(black).depth.max() == 0


def test_another_frame_size_starts_a_new_stream(stream):
    stream(np.full((28, 42, 3), 255, np.uint8))
    assert stream(np.zeros((56, 84, 3), np.uint8)).depth.max() == 0


def test_the_same_size_reuses_the_same_buffers(stream):
    image = np.zeros((50, 60, 3), np.uint8)
    first = stream(image)
    assert stream(image).depth is first.depth


def test_flipped_and_sliced_views_are_frames_too(stream):
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for view in (image[::-1], image[:, ::-1], image[..., ::-1], image[10:90:2, 5:], np.rot90(image)):
        stream.reset()
        depth = stream(view).model_depth.copy()
        stream.reset()
        np.testing.assert_array_equal(depth, stream(np.ascontiguousarray(view)).model_depth)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((28, 42, 3), np.float32), "not float32"),
        (np.zeros((28, 42), np.uint8), r"not uint8 \[28, 42\]"),
        (np.zeros((28, 42, 4), np.uint8), r"not uint8 \[28, 42, 4\]"),
        (np.zeros((13, 42, 3), np.uint8), "at least 14x14 pixels, not 42x13"),
        (np.zeros((0, 0, 3), np.uint8), "at least 14x14"),
    ],
)
def test_what_is_no_frame_is_refused(stream, frame, message):
    with pytest.raises(ValueError, match=message):
        stream(frame)


@pytest.mark.parametrize("frame", ["a.jpg", None, [[0, 1]]])
def test_what_is_no_array_is_refused_with_what_takes_it(stream, frame):
    with pytest.raises(
        TypeError, match=r"not (str|NoneType|list); predict\(\) takes paths and images, open_source\(\)"
    ):
        stream(frame)


def test_a_model_for_several_streams_is_refused_with_the_way_out(build_graph):
    with pytest.raises(InputError, match=r"made for 2 streams.*'--streams 1'"):
        DepthStream(build_graph(streams=2))


def test_no_model_means_the_bundled_one():
    with DepthStream() as stream:
        assert stream.model == bundled.MODEL
        assert (stream.contract.height, stream.contract.width) == (192, 272)
