"""Masks are scored by what they share with the true ones; trivial maps know no more than they say."""

from dataclasses import replace

import numpy as np
import pytest

from vmdepth.data.rgbd import rendered_rgbd_frames
from vmdepth.dynamics.scoring import (
    all_moves,
    attention_methods,
    compare,
    difference_after_camera,
    refined_by_truth,
    streaming,
    true_clip,
)
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth

MOVING, STILL = 60, 0  # seeds of rendered worlds


@pytest.fixture(scope="module")
def clips():
    return [true_clip(rendered_rgbd_frames(seed, 4, 96, 144)) for seed in (MOVING, STILL)]


def test_a_clip_has_what_is_known_of_it(clips):
    moving, still = clips
    assert moving.moves.shape == (4, 96, 144) and moving.moves.any() and not still.moves.any()
    assert moving.images.shape == (4, 96, 144, 3) and moving.cam2world.shape == (4, 4, 4)
    frames = [replace(frame, moving=None) for frame in rendered_rgbd_frames(STILL, 1, 32, 48)]
    with pytest.raises(ValueError, match="rendered"):
        true_clip(frames)


def test_the_table_has_every_method_and_the_trivial_maps(clips):
    table = compare(clips, {"truth": lambda clip: clip.moves, "half": lambda clip: 0.5 * clip.moves.astype(np.float32)})
    assert list(table) == ["truth", "half", "all moves", "difference after the camera's motion"]
    assert table["truth"].iou == table["half"].iou == 1 and table["truth"].false_share == 0
    share = np.mean([clip.moves for clip in clips])
    assert table["all moves"].iou == pytest.approx(share)
    assert table["all moves"].moving_iou == pytest.approx(clips[0].moves.mean())
    assert table["all moves"].false_share == 1
    difference = table["difference after the camera's motion"]
    assert share < difference.iou < 1 and difference.threshold is not None


def test_the_cameras_own_motion_makes_no_difference(clips):
    """A picture that another place's camera sees by depth alone, and the same with a patch that is elsewhere."""
    still = clips[1]
    moved = np.tile(np.eye(4), (2, 1, 1))
    moved[1, 0, 3] = 4 / still.intrinsics[0, 0, 0]  # to the right, by what shifts a wall at 1 m by 4 pixels
    images = np.stack([still.images[0], np.roll(still.images[0], -4, axis=1)])
    wall = replace(
        still, images=images, moves=still.moves[:2], depth=np.ones((2, 96, 144), np.float32), cam2world=moved
    )
    plain = np.abs(np.diff(images.astype(np.float32) / 255, axis=0))[0].mean()
    assert difference_after_camera(wall)[1, :, :130].mean() < 1e-3 < 1e-2 < plain
    images[1, 40:60, 40:60] = 255 - images[1, 40:60, 40:60]
    found = difference_after_camera(wall)
    assert not found[0].any() and found[1, 50, 50] > 0.05 > found[1, 20, 100]


def test_a_network_that_tells_is_a_method(clips):
    config = replace(PRESETS["edge"], motion=MotionSettings(width=8))
    network = VideoDepth(config).eval().requires_grad_(False)
    network.dynamic.conv2.weight.zero_()
    network.dynamic.conv2.bias.fill_(1.0)
    later = np.zeros_like(clips[0].moves)
    later[1:] = True  # of the first frame it tells nothing
    table = compare(clips[:1], {"head": streaming(network), "later": lambda clip: later})
    assert table["head"] == table["later"]
    assert all_moves(clips[0]).all()


def test_the_table_has_every_method_of_attention(small_views):
    clips = [true_clip(rendered_rgbd_frames(MOVING, 4, 28, 42))]
    table = compare(clips, attention_methods(small_views("any-view"), ("residual",)))
    assert list(table)[:6] == ["published", "cross", "fused", "guided", "full, residual", "streaming"]
    assert all(0 <= score.iou <= 1 for score in table.values() if score.iou is not None)


def test_refinement_by_the_truth_keeps_what_moves_and_drops_what_one_frame_made_up(clips):
    moving = clips[0]
    patch = np.zeros_like(moving.moves)
    patch[1, 60:80, 40:60] = True
    patch &= ~moving.moves
    found = refined_by_truth(moving, moving.moves | patch, "residual")
    assert found[moving.moves].mean() > 0.9
    assert found[patch].mean() < 0.3
