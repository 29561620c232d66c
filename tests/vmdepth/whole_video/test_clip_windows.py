"""The official way over a whole video: windows, each aligned to the one before."""

import numpy as np
import pytest
import torch

import vmdepth
from vmdepth.whole_video.clip_windows import offline_depth


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
