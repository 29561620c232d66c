"""Pictures are prepared for every family as its official code does it."""

import json

import numpy as np
import pytest
import torch

import vmdepth
from vmdepth.networks.multiview.views import imagenet_normalised
from vmdepth.official.preparation import depth_at, network_size, prepare_still, prepare_views, video_size

METHODS = ["upper_bound_resize", "upper_bound_crop", "lower_bound_resize", "lower_bound_crop"]


def close(got, expected, tolerance=2e-5):
    return got.shape == expected.shape and np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(("family", "rule"), [("da2", network_size), ("vda", video_size)])
def test_sizes_are_the_official_ones(family, rule, shared_reference):
    cases = json.loads((shared_reference / "preprocess_cases.json").read_text())
    columns = cases["columns"][family]
    assert len(cases[family]) > 10
    for values in cases[family]:
        case = dict(zip(columns, values, strict=True))
        assert rule(case["height"], case["width"], case["input_size"]) == (case["net_height"], case["net_width"]), case


@torch.no_grad()
def test_a_picture_goes_all_the_official_way(official_weights, shared_reference, tmp_path):
    io = np.load(shared_reference / "io_da2_vits_infer.npz")
    torch.save(official_weights("da2_vits"), tmp_path / "depth_anything_v2_vits.pth")
    model = vmdepth.load(tmp_path / "depth_anything_v2_vits.pth")
    for case in range(3):
        rgb = io[f"image_{case}"][..., ::-1]
        prepared = torch.from_numpy(prepare_still(rgb, int(io[f"size_{case}"]))).permute(2, 0, 1)[None]
        assert close(((prepared - model.mean) / model.std).numpy(), io[f"tensor_{case}"])
        depth = model.step(prepared)[0][0, 0].numpy()
        assert close(depth, io[f"net_depth_{case}"][0])
        assert close(depth_at(depth, *rgb.shape[:2]), io[f"depth_{case}"])


def normalised(clip):
    return imagenet_normalised(torch.from_numpy(clip)).numpy()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("index", [0, 1, 2])
def test_pixels_and_intrinsics_of_views(index, method, shared_reference):
    io = np.load(shared_reference / "io_da3_preprocess.npz")
    image, size = io[f"image_{index}"], int(io[f"process_res_{index}"])
    clip, cameras = prepare_views([image], size, method, [io[f"in_intrinsics_{index}"]])
    expected = io[f"tensor_{index}_{method}"]
    assert clip[0].shape == expected.shape
    # One step of uint8 is what OpenCV versions differ by.
    assert np.abs(normalised(clip)[0] - expected).max() <= 1 / 255 / 0.224 + 1e-5
    np.testing.assert_allclose(cameras[0], io[f"intrinsics_{index}_{method}"], rtol=1e-6)


def test_views_of_different_size_are_cropped_to_the_smallest(shared_reference):
    io = np.load(shared_reference / "io_da3_preprocess.npz")
    clip, cameras = prepare_views([io["image_0"], io["image_2"]], 56)
    assert cameras is None
    assert np.abs(normalised(clip) - io["mixed_0_2"]).max() <= 1 / 255 / 0.224 + 1e-5


def test_sizes_of_views(shared_reference):
    cases = json.loads((shared_reference / "preprocess_cases.json").read_text())["da3"]
    for height, width, size, method, rows, columns in cases:
        if height * width <= 700 * 700 and size <= 300:  # larger ones take long to resize
            clip, _ = prepare_views([np.zeros((height, width, 3), np.uint8)], size, method)
            assert clip.shape == (1, 3, rows, columns), (height, width, size, method)


def test_views_that_cannot_be_prepared():
    image = np.zeros((200, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="there are upper_bound_resize"):
        prepare_views([image], 56, "squeeze")
    with pytest.raises(ValueError, match="14 at least"):
        prepare_views([image], 13)
    with pytest.raises(ValueError, match="too narrow"):
        prepare_views([image], 56, "upper_bound_crop")
