"""A motion head learns what moves, from maps alone, and nothing else of the network changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vmdepth
from vmdepth.checkpoint import save
from vmdepth.data.batches import HELD_OUT_SEEDS
from vmdepth.networks.motion.motion_head import MotionHead, MotionSettings, Seen
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.motion.fit import fit_head, motion_loss, train_motion
from vmdepth.training.motion.lessons import MotionLessons, worlds
from vmdepth.training.motion.settings import MotionTrainSettings
from vmdepth_runtime.errors import InputError

SETTINGS = MotionTrainSettings(Path("a"), Path("b"), steps=60, batch=4, frames=2, learning_rate=1e-2)


def test_a_head_learns_what_is_left_over_where_all_else_changes_alike():
    torch.manual_seed(0)
    geometry = torch.randn(8, 5, 11, 8, 8) * 0.1 + torch.randn(8, 5, 11, 1, 1)
    moves = torch.zeros(8, 5, 8, 8)
    moves[:, :, 2:5, 3:6] = 1
    geometry[:, :, 2, 2:5, 3:6] += 3
    seen, head = Seen(geometry, torch.randn(8, 5, 4, 4, 4)), MotionHead(4, MotionSettings(width=8))
    lessons, losses = MotionLessons(Seen(*(maps.half() for maps in seen)), moves.half()), []
    fit_head(head, lessons, replace(SETTINGS, learning_rate=0.03), lambda step, loss: losses.append(loss))
    row = Seen(*(maps[:, 1:].flatten(0, 1) for maps in seen))
    said, moves = head.told(row) > 0, moves[:, 1:].flatten(0, 1)
    both, either = (said & (moves > 0)).sum(), (said | (moves > 0)).sum()
    assert len(losses) == 60 and losses[-1] < losses[0] and both / either > 2 * moves.mean()
    assert not any(parameter.requires_grad for parameter in head.parameters())
    spread = head.together(row).std((0, 2, 3))
    assert torch.allclose(spread[:11], torch.ones(11), atol=0.05)


def test_the_loss_asks_for_overlap():
    moves = torch.zeros(1, 40, 40)
    moves[:, :20] = 1
    right, wrong = 20 * (moves - 0.5), 20 * (0.5 - moves)
    assert motion_loss(right, moves) < 0.01 < 1 < motion_loss(torch.full_like(moves, -20.0), moves)
    assert motion_loss(wrong, moves) > motion_loss(torch.zeros_like(moves), moves)


def test_worlds_are_none_of_the_held_out_and_move_mostly():
    seeds = list(worlds(3, 4))
    assert len(set(seeds)) == 4 and min(seeds) >= HELD_OUT_SEEDS + 3 * 10**8


def test_the_command_gives_a_network_that_tells_and_keeps_its_depth(tmp_path):
    torch.manual_seed(0)
    bare = VideoDepth(PRESETS["edge"]).eval()
    save(tmp_path / "bare.safetensors", bare, "bare")
    settings = replace(SETTINGS, network=tmp_path / "bare.safetensors", out=tmp_path / "out.safetensors", clips=2)
    train_motion(replace(settings, clip_length=3, size="32x48", steps=2, batch=1))
    taught = vmdepth.load(tmp_path / "out.safetensors")
    assert taught.config.motion == MotionSettings() and taught.extra_outputs == ("dynamic",)
    clip = torch.rand(1, 2, 3, 32, 48)
    assert torch.equal(taught(clip)[0], bare(clip)[0])
    other = replace(settings, out=tmp_path / "other.safetensors", clip_length=3, size="32x48", steps=1, batch=1, seed=1)
    seeds = [train_motion(replace(other, seed=seed)).dynamic.conv1.weight for seed in (0, 0, 1)]
    assert torch.equal(seeds[0], seeds[1]) and (seeds[0] - seeds[2]).abs().max() > 0.05  # of the first weights as well
    again = replace(settings, network=tmp_path / "out.safetensors", out=tmp_path / "again.safetensors", clip_length=3)
    train_motion(replace(again, size="32x48", steps=1, batch=1, width=8))  # another head in its place
    assert vmdepth.load(tmp_path / "again.safetensors").config.motion.width == 8


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"network": Path("none.safetensors")}, "no such file"),
        ({"frames": 9, "clip_length": 4}, "--frames 9: a clip has 3 after its first"),
        ({"steps": 0}, "--steps 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan: must be above 0"),
        ({"weight_decay": -1.0}, "--weight-decay -1.0: must not be negative"),
        ({"seed": -1}, "--seed -1: must be from 0"),
        ({"tap": "path_9"}, "path_9"),
        ({"size": "33x48"}, "16"),
        ({"size": "wide"}, "HxW"),
        ({"out": Path("nowhere/out.safetensors")}, "nowhere"),
        ({"out": Path("out.onnx")}, "safetensors"),
        ({"textures": Path("no_photos")}, "no_photos"),
    ],
)
def test_bad_settings_get_one_line(values, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(Path("bare.safetensors"), VideoDepth(PRESETS["edge"]), "bare")
    settings = replace(SETTINGS, network=Path("bare.safetensors"), out=Path("out.safetensors"))
    with pytest.raises(InputError, match=said):
        train_motion(replace(settings, **values))
    assert not Path("out.safetensors").exists()
