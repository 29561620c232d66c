"""Networks of every kind with the output `dynamic`: all else stays as it is, and batches are what streams are alone."""

from __future__ import annotations

import pytest
import torch

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.moving.bands import Bands, relative_bands
from vmdepth.networks.moving.moving_network import MovingNetwork
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.single_view import SingleView
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.step_graph import StepGraph
from vmdepth.networks.step_network import StepNetwork
from vmdepth.networks.video_depth import VideoDepth

SIZE = 28, 42
WIDTHS = 32, (24, 48, 96, 192)


@pytest.fixture(scope="module")
def made(small_views):
    """Networks by what is special about them, and how many states they have of their own."""
    torch.manual_seed(0)
    views = small_views("any-view")
    return {
        "heads": VideoDepth(PRESETS["tiny"]),
        "window": VideoDepth(NetworkConfig("tiny", *WIDTHS, head=AttentionSettings("causal", 3), taps=("layer_4",))),
        "views' encoder": VideoDepth(NetworkConfig("da3-small", *WIDTHS, head=NoHead())),
        "one view": SingleView(views),
        "one picture": SingleView(small_views("mono")),
        "causal views": CausalViews(views, 4),
    }


def clip(frames: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(frames, 2, 3, *SIZE)


@pytest.mark.parametrize("kind", ["heads", "window", "views' encoder", "one view", "one picture", "causal views"])
@torch.inference_mode()
def test_all_else_stays_as_it_is(made, kind):
    network: StepNetwork = made[kind].eval()
    moving = MovingNetwork(network)
    graphs = [StepGraph(model, *SIZE) for model in (network, moving)]
    plain, states = (model.init_states(2, *SIZE) for model in (network, moving))
    assert [name for name in states if name in plain] == list(plain)
    assert moving.extra_outputs == (*network.extra_outputs, "dynamic")
    for frame in (clip(5).permute(0, 1, 3, 4, 2) * 255).byte():
        (expected, after), (got, own) = graphs[0](frame, plain), graphs[1](frame, states)
        dynamic = got.pop("dynamic")
        assert got.keys() == expected.keys()
        assert own.keys() == states.keys()
        for name, value in (expected | after).items():
            torch.testing.assert_close((got | own)[name], value, rtol=0, atol=2e-6 * float(value.abs().max()))
        plain, states = network.written(plain, after), moving.written(states, own)
    assert dynamic.shape == (2, *SIZE)
    assert dynamic.min() > 0
    assert dynamic.max() < 1


@torch.inference_mode()
def test_step_goes_on_from_what_it_returns(made):
    moving = MovingNetwork(made["causal views"].eval())
    whole, parts = None, [None, None]
    for frame in clip(7):
        outputs, whole = moving.step(frame, whole)
        for stream in (0, 1):
            alone, parts[stream] = moving.step(frame[stream : stream + 1], parts[stream])
            torch.testing.assert_close(alone["dynamic"], outputs["dynamic"][stream : stream + 1], rtol=1e-4, atol=1e-5)
    assert whole["counter"].tolist() == [4, 4]  # it has gone round once
    assert whole["dynamic.keys_5"].shape == (2, 3, 4, 64, 65)


def test_blocks_are_chosen_by_relative_depth(made):
    bands = [MovingNetwork(made[kind]).dynamic.bands for kind in ("heads", "one view")]
    assert bands == [Bands((0,), (2, 3, 4), (9, 10, 11), (9, 10)), Bands((5,), (7,), (11,), (11,))]
    assert relative_bands(range(24)) == Bands((0,), (3, 4, 5, 6, 7), (17, 18, 19, 20, 21), (18, 19))


def test_another_window_has_other_rings(made):
    moving = MovingNetwork(made["causal views"], forgetting=0.9)
    other = moving.remembering(CausalViews(made["causal views"], 6).ring)
    assert other.state_shapes(1, *SIZE)["dynamic.keys_5"] == (1, 3, 6, 64, 65)
    assert (other.ring_of("dynamic.keys_5").slots, other.ring_of("dynamic.weight")) == (6, None)
    assert other.dynamic.forgetting == 0.9


def test_networks_that_cannot_tell_are_refused(made):
    with pytest.raises(ValueError, match="has no attention in its encoder"):
        MovingNetwork(VideoDepth(PRESETS["edge"]))
    with pytest.raises(ValueError, match="tells what moves by itself"):
        MovingNetwork(MovingNetwork(made["heads"]))
