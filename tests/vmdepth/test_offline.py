"""The official way over a whole video, and the official preparation of pictures."""

import json

import numpy as np
import pytest
import torch

import vmdepth
from vmdepth.official.preparation import depth_at, network_size, prepare_still, video_size
from vmdepth.offline import offline_depth


@pytest.fixture(scope="module")
def load(tmp_path_factory, official_weights):
    folder = tmp_path_factory.mktemp("offline")

    def load(model, file, **options):
        torch.save(official_weights(model), folder / file)
        return vmdepth.load(folder / file, **options)

    return load


def close(got, expected, tolerance=2e-5):
    return got.shape == expected.shape and np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize(
    ("file", "key"),
    [("video_depth_anything_vits.pth", "depth"), ("metric_video_depth_anything_vits.pth", "depth_metric_mode")],
)
def test_a_video_of_three_windows(file, key, load, shared_reference):
    io = np.load(shared_reference / "io_vda_vits_offline.npz")
    model = load("vda_vits", file, temporal="bidirectional")
    assert close(offline_depth(model, io["frames"], size=28), io[key])


def test_a_video_shorter_than_a_window(load, shared_reference):
    frames = np.load(shared_reference / "io_vda_vits_offline.npz")["frames"][:3]
    model = load("vda_vits", "video_depth_anything_vits.pth", temporal="bidirectional")
    depth = offline_depth(model, frames, size=28)
    assert depth.shape == frames.shape[:3]
    with pytest.raises(ValueError, match="no frames"):
        offline_depth(model, [])
    with pytest.raises(ValueError, match="bidirectional"):
        offline_depth(load("vda_vits", "video_depth_anything_vits.pth"), frames)


@pytest.mark.parametrize(("family", "rule"), [("da2", network_size), ("vda", video_size)])
def test_sizes_are_the_official_ones(family, rule, shared_reference):
    cases = json.loads((shared_reference / "preprocess_cases.json").read_text())
    columns = cases["columns"][family]
    assert len(cases[family]) > 10
    for values in cases[family]:
        case = dict(zip(columns, values, strict=True))
        assert rule(case["height"], case["width"], case["input_size"]) == (case["net_height"], case["net_width"]), case


@torch.no_grad()
def test_a_picture_goes_all_the_official_way(load, shared_reference):
    io = np.load(shared_reference / "io_da2_vits_infer.npz")
    model = load("da2_vits", "depth_anything_v2_vits.pth")
    for case in range(3):
        rgb = io[f"image_{case}"][..., ::-1]
        prepared = torch.from_numpy(prepare_still(rgb, int(io[f"size_{case}"]))).permute(2, 0, 1)[None]
        assert close(((prepared - model.mean) / model.std).numpy(), io[f"tensor_{case}"])
        depth = model.step(prepared)[0][0, 0].numpy()
        assert close(depth, io[f"net_depth_{case}"][0])
        assert close(depth_at(depth, *rgb.shape[:2]), io[f"depth_{case}"])
