"""Pictures are prepared for Depth Anything 3 as the official code does it."""

import json

import numpy as np
import pytest

from vmdepth.data.view_images import prepare_views
from vmdepth.networks.multiview.any_view import imagenet_normalised

METHODS = ["upper_bound_resize", "upper_bound_crop", "lower_bound_resize", "lower_bound_crop"]


def normalised(clip):
    import torch

    return imagenet_normalised(torch.from_numpy(clip)).numpy()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_pixels_and_intrinsics(index, method, shared_reference):
    io = np.load(shared_reference / "io_da3_preprocess.npz")
    image, size = io[f"image_{index}"], int(io[f"process_res_{index}"])
    clip, cameras = prepare_views([image], size, method, [io[f"in_intrinsics_{index}"]])
    expected = io[f"tensor_{index}_{method}"]
    assert clip[0].shape == expected.shape
    # One step of uint8 is what OpenCV versions differ by.
    assert np.abs(normalised(clip)[0] - expected).max() <= 1 / 255 / 0.224 + 1e-5
    np.testing.assert_allclose(cameras[0], io[f"intrinsics_{index}_{method}"], rtol=1e-6)


def test_pictures_of_different_size_are_cropped_to_the_smallest(shared_reference):
    io = np.load(shared_reference / "io_da3_preprocess.npz")
    clip, cameras = prepare_views([io["image_0"], io["image_2"]], 56)
    assert cameras is None
    assert np.abs(normalised(clip) - io["mixed_0_2"]).max() <= 1 / 255 / 0.224 + 1e-5


def test_sizes(shared_reference):
    cases = json.loads((shared_reference / "preprocess_cases.json").read_text())["da3"]
    for height, width, size, method, rows, columns in cases:
        if height * width <= 700 * 700 and size <= 300:  # larger ones take long to resize
            clip, _ = prepare_views([np.zeros((height, width, 3), np.uint8)], size, method)
            assert clip.shape == (1, 3, rows, columns), (height, width, size, method)


def test_what_cannot_be_prepared():
    image = np.zeros((200, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="there are upper_bound_resize"):
        prepare_views([image], 56, "squeeze")
    with pytest.raises(ValueError, match="14 at least"):
        prepare_views([image], 13)
    with pytest.raises(ValueError, match="too narrow"):
        prepare_views([image], 56, "upper_bound_crop")
