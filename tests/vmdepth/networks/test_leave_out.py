"""Keys and values left out, by a mask and by removing them, in both forms, against the numbers of VGGT4D."""

import numpy as np
import pytest
import torch

from vmdepth.dynamics.second_pass import patches_that_move
from vmdepth.networks.attention import attend, attend_in_rows, use_attention
from vmdepth.networks.leave_out import LeaveOut, key_mask
from vmdepth.networks.observer import SPECIAL

VGGT_SPECIAL = 5  # one camera token and four registers


@pytest.fixture(scope="module")
def io(shared_reference):
    file = shared_reference / "vggt4d" / "io_vggt4d_attn.npz"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    with np.load(file) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def kept(io):
    """bool [3 frames, 17 tokens], from the mask of pixels."""
    patches = torch.from_numpy(patches_that_move(io["pixel_mask"].numpy())).flatten(1)
    assert torch.equal(patches, io["token_mask"])
    return torch.cat([patches.new_ones(len(patches), VGGT_SPECIAL), ~patches], dim=1)


@pytest.mark.parametrize("form", ["fused", "explicit"])
def test_a_frame_s_own_attention(io, kept, form):
    """The second frame is all dynamic: its special tokens are left."""
    with use_attention(form):
        plain = attend(io["q"], io["k"], io["v"])
        found = attend(io["q"], io["k"], io["v"], key_mask(kept, torch.float32))
    assert (plain - io["unmasked_frame"]).abs().max() <= 1e-6
    assert (found - io["out_frame"]).abs().max() <= 1e-6
    assert (found - plain).abs().max() > 0.1


@pytest.mark.parametrize("form", ["fused", "explicit"])
@pytest.mark.parametrize("rows", [None, 1, 20])
def test_attention_over_all_frames(io, kept, form, rows):
    query, key, value = (io[name].transpose(0, 1).flatten(1, 2)[None] for name in "qkv")
    here = kept.flatten()
    with use_attention(form):
        removed = attend_in_rows(query, key[:, :, here], value[:, :, here], rows)
        masked = attend(query, key, value, key_mask(here[None], torch.float32))
        zeroed = attend(query, key * here[:, None], value, None)
    for found in (removed, masked):
        assert (found - io["out_global"]).abs().max() <= 1e-6
    assert (zeroed - io["out_global"]).abs().max() > 0.1  # a key of zeros still takes its share


def test_special_tokens_are_never_left_out():
    leave_out = LeaveOut(torch.ones(1, 2, 3, 4, dtype=torch.bool), (7,))
    assert leave_out.kept.shape == (2, SPECIAL + 12)
    assert leave_out.kept.sum() == 2 * SPECIAL
    assert leave_out.kept[:, :SPECIAL].all()
    assert leave_out.kept_in(7) is leave_out.kept
    assert leave_out.kept_in(5) is None
