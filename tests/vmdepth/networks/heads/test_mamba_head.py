"""The time code: exact for ever, in every precision."""

import pytest
import torch

from vmdepth.networks.heads.mamba_head import CYCLE, time_code
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
        _, after = model.decode_step(maps, size, {**states, "counter": counter})
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
