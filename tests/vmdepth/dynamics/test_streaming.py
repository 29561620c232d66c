"""Masks frame by frame: the same statistics as those of the past in a first pass, and of every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vmdepth.dynamics.capture import look
from vmdepth.dynamics.first_pass import Statistic
from vmdepth.dynamics.streaming import stream_masks
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.moving.causal_masks import MAPS, CausalMasks
from vmdepth.networks.moving.moving_network import MovingNetwork
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError

SIZE = 28, 56


@pytest.fixture(scope="module")
def alone():
    """A network whose frames never see each other."""
    torch.manual_seed(0)
    return VideoDepth(NetworkConfig("tiny", 32, (24, 48, 96, 192), head=NoHead())).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def video():
    """Ten frames of smooth colours that drift, and a square that goes its own way."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    images = []
    for frame in range(10):
        waves = [np.sin((rows * a + columns * b) / 9 + frame / 5) for a, b in ((1, 2), (2, -1), (-1, 1))]
        image = (np.stack(waves, axis=-1) * 100 + 128).astype(np.uint8)
        image[8:20, 4 * frame : 4 * frame + 12] = (250, 20, 20)
        images.append(image)
    return np.stack(images)


def test_its_statistics_are_those_of_the_past_in_a_first_pass(alone, video, monkeypatch):
    seen, maps = [], CausalMasks.maps
    monkeypatch.setattr(CausalMasks, "maps", lambda *args: seen.append(maps(*args)) or seen[-1])  # only looks on
    stream_masks(alone, video, forgetting=1.0)
    bands = MovingNetwork(alone).dynamic.bands
    asked = [
        Statistic("KK", "similarity", bands.shallow, "past"),
        Statistic("QK", "variance", bands.shallow, "past"),
        Statistic("QQ", "similarity", bands.middle, "past"),
        Statistic("QQ", "similarity", bands.deep, "past"),
        Statistic("QQ", "variance", bands.deep_variance, "past"),
    ]
    first = look(alone, video, asked)
    for name, own, statistic in zip(MAPS, torch.cat(seen).numpy().swapaxes(0, 1), asked, strict=True):
        expected = first.raw[statistic].reshape(own.shape)
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max(), err_msg=name)


def test_nothing_of_what_follows_is_known(alone, video):
    whole, beginning = stream_masks(alone, video), stream_masks(alone, video[:6])
    np.testing.assert_array_equal(whole.soft[:6], beginning.soft)
    assert whole.soft.shape == whole.moves.shape == video.shape[:3]
    assert not whole.soft[:3].any()
    assert whole.soft[3:].all()


def test_networks_of_views_remember_their_window(small_views, video):
    network = small_views("any-view")
    found = stream_masks(network, video, window=3)
    same = stream_masks(CausalViews(network, 3), video)
    np.testing.assert_array_equal(found.soft, same.soft)
    assert np.abs(found.soft - stream_masks(network, video, window=5).soft).max() > 1e-3
    assert stream_masks(small_views("mono"), video[:4]).soft[3].any()


def test_bad_input_is_told_in_one_line(alone, video):
    with pytest.raises(InputError, match="no attention in its encoder"):
        stream_masks(VideoDepth(PRESETS["edge"]), np.zeros((4, 64, 64, 3), np.uint8))
    for forgetting in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match=f"forgetting {forgetting:g}: is what is left"):
            stream_masks(alone, video, forgetting=forgetting)
    assert stream_masks(alone, video[:4], forgetting=0.01).soft[3].any()  # the least: the fourth frame is still seen
    with pytest.raises(InputError, match="size 27x56 is no multiple of 14"):
        stream_masks(alone, video[:, 1:])
