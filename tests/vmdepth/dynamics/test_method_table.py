"""The table of all methods on held-out rendered clips, printed: random weights have no figures to be held to."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.table import Table

from vmdepth.data.rgbd import rendered_rgbd_frames
from vmdepth.dynamics.scoring import attention_methods, compare, streaming, true_clip
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.depth_anything_3 import DEPTH_ANYTHING_3
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth.training.motion.fit import fit_head
from vmdepth.training.motion.lessons import motion_lessons, worlds
from vmdepth.training.motion.settings import MotionTrainSettings

SEEDS, FRAMES, SIZE = (0, 5, 14, 29, 44, 60), 8, (112, 224)  # of the clips five have something that moves


def with_motion_head(clips=24, steps=100):
    """`edge` with random weights, and a head that learnt a little from clips like those of the table."""
    torch.manual_seed(0)
    network = VideoDepth(replace(PRESETS["edge"], motion=MotionSettings())).eval().requires_grad_(False)
    lessons = motion_lessons(network, worlds(0, clips), FRAMES, SIZE)
    fit_head(network.dynamic, lessons, MotionTrainSettings(Path("edge"), Path("moving"), steps=steps))
    return network


def shown(table):
    printed = Table("masks by", "IoU, %", "where something moves", "said to move where nothing does")
    for name, score in table.items():
        figures = (score.iou, score.moving_iou, score.false_share)
        printed.add_row(name, *("–" if figure is None else f"{100 * figure:.1f}" for figure in figures))
    return printed


@pytest.mark.slow
def test_every_method_on_the_same_clips(official_weights):
    """Random weights: their maps are noise, and may be no better than that everything moves. The head alone learns."""
    file = CheckpointFile(Path("da3_small"), official_weights("da3_small"))
    methods = attention_methods(DEPTH_ANYTHING_3.build(file, LoadOptions()).requires_grad_(False))
    methods["motion head of edge"] = streaming(with_motion_head())
    table = compare((true_clip(rendered_rgbd_frames(seed, FRAMES, *SIZE)) for seed in SEEDS), methods)
    Console(width=110).print(shown(table))
    assert len(table) == len(methods) + 2
    assert all(score.iou is not None and 0 <= score.iou < 1 for score in table.values())
