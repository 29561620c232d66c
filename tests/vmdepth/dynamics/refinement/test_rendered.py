"""Masks of rendered clips, spoilt in several ways, are nearer to the truth after refinement."""

import cv2
import numpy as np
import pytest
import torch

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.dynamics.refinement.options import RefineOptions
from vmdepth.dynamics.refinement.refine import refine

SEEDS = (1022, 1049)  # things that move all the time, before rooms


@pytest.fixture(scope="module", params=SEEDS)
def rendered(request):
    """Eight frames, a tenth of a second apart: a clip and what moves in it."""
    with torch.no_grad():
        clip = render_clips([request.param], 22, 56, 84)
    third = slice(None, None, 3)
    arrays = {
        "images": (clip.rgb[0, third].movedim(1, 3) * 255).round().byte().numpy(),
        "depth": clip.depth[0, third, 0].numpy(),
        "cam2world": clip.poses[0, third].numpy(),
        "intrinsics": np.repeat(clip.intrinsics.numpy(), 8, axis=0),
    }
    return arrays, clip.moving[0, third, 0].numpy()


def of_patches(moving):
    """A mask that covers what moves, as coarse as one of patches of 14 pixels that is brought to the size of frames."""
    frames, height, width = moving.shape
    shares = moving.reshape(frames, height // 14, 14, width // 14, 14).mean(axis=(2, 4)).astype(np.float32)
    return np.stack([cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR) > 0.05 for share in shares])


def with_false_patches(moving):
    """A mask with a block more in every frame, each somewhere else."""
    mask = moving.copy()
    for frame, corner in zip(mask, np.random.default_rng(5).integers(0, (40, 60), (len(mask), 2)), strict=True):
        frame[corner[0] : corner[0] + 14, corner[1] : corner[1] + 20] = True
    return mask


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


SPOILT = [of_patches, with_false_patches, lambda moving: with_false_patches(of_patches(moving))]


@pytest.mark.parametrize("spoil", SPOILT, ids=["patches", "false patches", "both"])
@pytest.mark.parametrize("how", ["residual", "gradient"])
def test_refinement_brings_masks_nearer_to_the_truth(rendered, how, spoil):
    """Without the pixel by which it grows last, which is a sixtieth of so small a picture."""
    clip, moving = rendered
    coarse = spoil(moving)
    refined = refine(**clip, moves=coarse, how=how, options=RefineOptions(grow=0))
    assert iou(refined.masks, moving) > iou(coarse, moving) + 0.01
