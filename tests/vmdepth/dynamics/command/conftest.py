"""A video with something that moves, and checkpoints of narrow networks."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vmdepth.checkpoint import save
from vmdepth.dynamics.command.settings import MasksSettings
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth


@pytest.fixture(scope="package")
def model(small_views, tmp_path_factory):
    """A checkpoint of an any-view network; it is one of the causal form, whose mask over time can be taken off."""
    path = tmp_path_factory.mktemp("model") / "views.safetensors"
    save(path, CausalViews(small_views("any-view"), 3), "tiny")
    return path


@pytest.fixture(scope="package")
def without_attention(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "edge.safetensors"
    save(path, VideoDepth(PRESETS["edge"]), "edge")
    return path


@pytest.fixture(scope="package")
def with_motion_head(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "told.safetensors"
    save(path, VideoDepth(replace(PRESETS["edge"], motion=MotionSettings(width=8))), "edge")
    return path


@pytest.fixture(scope="package")
def each_alone(tmp_path_factory):
    """A checkpoint of a network of videos with attention, which sees every frame alone and tells no cameras."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(path, VideoDepth(PRESETS["tiny"]), "tiny")
    return path


@pytest.fixture(scope="package")
def frames(tmp_path_factory):
    """A folder of seven frames of 84×60 pixels: noise that stands still, and a bright square that goes over it."""
    folder = tmp_path_factory.mktemp("video")
    still = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 200, (60, 84, 3), np.uint8), (0, 0), 2)
    for number in range(7):
        image = still.copy()
        image[20:38, 8 * number + 4 : 8 * number + 24] = 255, 120, 0
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


@pytest.fixture
def settings(frames, model, tmp_path):
    return MasksSettings(tmp_path / "masks", str(frames), model, process_res=84)
