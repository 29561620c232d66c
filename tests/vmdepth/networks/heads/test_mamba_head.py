"""The Mamba-2 head: its time code, exact for ever, in every precision; its blocks and its feed-forward part."""

from dataclasses import replace

import pytest
import torch

from vmdepth.networks.heads.mamba_head import CYCLE, FeedForward, MambaSettings, time_code
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@torch.no_grad()
def test_the_counter_is_exact_in_every_precision_and_goes_round(dtype):
    model = VideoDepth(PRESETS["tiny"])
    size, batch = (14, 14), 1
    maps = [torch.zeros(batch, 1, 192)] * 4
    states = model.init_states(batch, 14, 14)
    counter = states["counter"].to(dtype)
    for n in range(2 * CYCLE + 3):
        assert float(counter) == n % CYCLE
        _, _, after = model.decode_step(maps, size, {**states, "counter": counter})
        counter = after["counter"].to(dtype)


def test_the_code_of_a_frame_months_later_is_the_code_of_its_place_in_the_cycle():
    table = time_code(48).double()
    n = 60 * 86_400 * 365 + 77  # a year at 60 frames per second
    turns = torch.round((CYCLE / 4) ** (torch.arange(24, dtype=torch.float64) / 23)).long()
    phase = (turns * n % CYCLE).double() * 2 * torch.pi / CYCLE  # reduced in whole numbers: no rounding to grow
    expected = torch.stack([phase.sin(), phase.cos()], -1).flatten()
    assert (table[n % CYCLE] - expected).abs().max() < 1e-6


def test_no_two_frames_of_a_cycle_have_the_same_code():
    table = time_code(48)
    distance = torch.cdist(table, table) + torch.eye(CYCLE) * 10
    assert distance.min() > 0.05


def feeding(**settings):
    """A network with feed-forward parts that do something."""
    torch.manual_seed(0)
    head = MambaSettings(temporal_width=48, feed_forward=2, **settings)
    model = VideoDepth(replace(PRESETS["tiny"], head=head)).eval()
    for part in model.heads.values():
        torch.nn.init.normal_(part.proj_out.weight, std=0.3)
        for feed_forward in part.feed_forwards:
            torch.nn.init.normal_(feed_forward.down.weight, std=0.3)
            torch.nn.init.normal_(feed_forward.down.bias, std=0.3)
    return model


@torch.no_grad()
def test_steps_with_a_feed_forward_part_equal_the_clip():
    model = feeding()
    clip = torch.rand(2, 6, 3, 28, 42)
    depth, states = model(clip)
    carried, stepped = None, []
    for frame in clip.unbind(1):
        one, carried = model.step(frame, carried)
        stepped.append(one)
    scale = depth.max() - depth.min()
    assert (torch.stack(stepped, 1) - depth).abs().max() <= 1e-4 * scale
    for name, state in states.items():
        assert (carried[name] - state).abs().max() <= 1e-4 * state.abs().max().clamp_min(1e-3), name
    for part in model.heads.values():
        for feed_forward in part.feed_forwards:
            torch.nn.init.zeros_(feed_forward.down.weight)
            torch.nn.init.zeros_(feed_forward.down.bias)
    assert (model(clip)[0] - depth).abs().max() > 1e-3 * scale  # it mattered


@torch.no_grad()
def test_without_time_code_a_frame_has_no_number():
    """Depth and next states are the same wherever in the cycle a frame stands, in steps and in clips. Weights are those
    with it."""
    assert MambaSettings(time_code=False).shares_weights(MambaSettings())
    assert not MambaSettings(time_code=False).shares_weights(MambaSettings(d_state=8))
    for told in (True, False):
        model = feeding(time_code=told)
        clip = torch.rand(1, 3, 3, 28, 42)
        _, states = model(clip)
        later = {**states, "counter": states["counter"] + 100}
        for run, frames in ((model.step, clip[:, 0]), (model, clip)):
            (depth, carried), (same, after) = run(frames, states), run(frames, later)
            assert torch.equal(depth, same) != told
            assert all(torch.equal(carried[name], after[name]) != told for name in carried if name.endswith("0.ssm"))


@torch.no_grad()
def test_an_untrained_feed_forward_part_changes_no_token():
    torch.manual_seed(0)
    part = FeedForward(48, 2)
    tokens = torch.rand(3, 5, 48)
    assert torch.equal(part(tokens), tokens)
    assert torch.equal(part.step(tokens.transpose(1, 2)), tokens.transpose(1, 2))


def test_blocks_are_two_on_coarse_maps_or_what_is_asked_for():
    def blocks(**settings):
        model = VideoDepth(replace(PRESETS["tiny"], head=MambaSettings(**settings)))
        return {tap: len(head.blocks) for tap, head in model.heads.items()}

    assert blocks() == {"layer_2": 1, "layer_3": 2, "layer_4": 2}
    assert blocks(blocks=(3,)) == {"layer_2": 3, "layer_3": 3, "layer_4": 3}
    assert blocks(blocks=(2, 1, 3)) == {"layer_2": 2, "layer_3": 1, "layer_4": 3}
    with pytest.raises(ValueError, match=r"blocks=2,1: there are 3 taps \(layer_2, layer_3, layer_4\)"):
        blocks(blocks=(2, 1))
