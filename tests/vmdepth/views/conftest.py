"""A rendered walk whose depth and cameras are known, and tiny networks of the real classes."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import AnyViewConfig, MonoConfig, NestedConfig
from vmdepth.views import network
from vmdepth.views.geometry import inverse, nearest_rotation
from vmdepth.views.settings import ViewsSettings
from vmdepth.views.similarity import Similarity
from vmdepth_runtime.progress import ProgressLine


@dataclass(frozen=True)
class Walk:
    """images: uint8 [60, H, W, 3]. depth: [60, H, W], inf for sky. extrinsics: [60, 3, 4] seen from the first camera.
    intrinsics: [3, 3]."""

    images: np.ndarray
    depth: np.ndarray
    extrinsics: np.ndarray
    intrinsics: np.ndarray


@pytest.fixture(scope="package")
def walk():
    clip = render_clips([5], 60, 56, 84)
    pose = inverse(clip.poses[0].numpy().astype(np.float64))
    extrinsics = np.concatenate([nearest_rotation(pose[:, :, :3]), pose[:, :, 3:]], axis=2)
    return Walk(
        (clip.rgb[0].permute(0, 2, 3, 1) * 255).round().byte().numpy(),
        clip.depth[0, :, 0].numpy(),
        Similarity(1.0, extrinsics[0, :, :3], extrinsics[0, :, 3]).cameras(extrinsics),
        clip.intrinsics[0].numpy().astype(np.float64),
    )


SIZES = AnyViewConfig("tiny", 16, (8, 16, 24, 32), (5, 7, 9, 11), 4)
METRIC = MonoConfig("tiny", 16, (8, 16, 24, 32), metric=True)
MAKERS = {
    "nested": lambda: NestedDepth(NestedConfig(SIZES, METRIC)),
    "any-view": lambda: AnyViewDepth(SIZES),
    "no-cameras": lambda: AnyViewDepth(replace(SIZES, camera_decoder=False)),
    "mono": lambda: MonoDepth(MonoConfig("tiny", 16, (8, 16, 24, 32))),
    "metric": lambda: MonoDepth(METRIC),
}


@pytest.fixture
def tiny(monkeypatch):
    """Lets every checkpoint be a tiny network of a kind; gives the network."""

    def put(kind):
        torch.manual_seed(0)
        made = MAKERS[kind]().eval().requires_grad_(False)
        monkeypatch.setattr(network, "load", lambda path: made)
        return made

    return put


@pytest.fixture
def quiet():
    return ProgressLine("test")


@pytest.fixture
def photos(walk, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), walk.images[6 * number][..., ::-1])
    return folder


@pytest.fixture
def settings(photos, tmp_path):
    return ViewsSettings((str(photos),), tmp_path / "any.safetensors", tmp_path / "scene", process_res=42)
