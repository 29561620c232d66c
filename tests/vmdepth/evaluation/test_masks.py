"""Masks of what moves are scored over all clips together, and by vmdepth-eval where truth and network both tell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from vmdepth.evaluation.drawing.table import print_evaluation
from vmdepth.evaluation.figures import evaluate_sequences
from vmdepth.evaluation.masks import Overlap, added, overlap, scored
from vmdepth.evaluation.recording import Streamed
from vmdepth.evaluation.sequences import RenderedClip
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession


def test_scores_are_of_all_pixels_together():
    said, true = np.array([[1, 1, 0, 0]], bool), np.array([[0, 1, 1, 0]], bool)
    one, still = overlap(said, true), overlap(said, np.zeros_like(true))
    assert one == Overlap(both=1, either=3, true=2, pixels=4) and still == Overlap(0, 2, 0, 4)
    assert added([one, still]) == Overlap(1, 5, 2, 8) and added([]) is None
    score = scored([one, still, Overlap(6, 6, 6, 8)])
    assert (score.iou, score.moving_iou, score.false_share) == (7 / 11, 7 / 9, 0.5)
    assert score.clip_iou == pytest.approx((1 / 3 + 1) / 2)
    alarms = scored([still])  # nothing moves: it is not known how well what does is found
    assert (alarms.iou, alarms.moving_iou, alarms.clip_iou, alarms.false_share) == (None, None, None, 0.5)
    none = scored([overlap(np.zeros_like(true), np.zeros_like(true))])
    assert (none.iou, none.moving_iou, none.clip_iou, none.false_share) == (None, None, None, 0.0)


def test_evaluation_scores_networks_that_tell_what_moves(capsys):
    torch.manual_seed(0)
    network = VideoDepth(replace(PRESETS["edge"], motion=MotionSettings(width=8))).eval()
    network.dynamic.conv2.weight.data.zero_()
    network.dynamic.conv2.bias.data.fill_(1.0)  # all moves
    plain = VideoDepth(PRESETS["edge"]).eval()
    clip = RenderedClip(60, 3, 64, 96)
    models = [Streamed(TorchSession(model, 32, 48)) for model in (network, plain)]
    evaluation = evaluate_sequences(models, [clip], "area")
    true = np.stack([frame.moving for frame in clip])
    tells, silent = evaluation.models
    iou = true[1:].sum() / (true[0].sum() + true[1:].size)  # of the first frame nothing is told
    assert 0 < tells.masks.iou == pytest.approx(iou)
    assert tells.masks.false_share is None and silent.masks is None
    assert tells.to_dict()["masks"]["iou"] == tells.masks.iou and silent.to_dict()["masks"] is None
    print_evaluation(evaluation, ["model", "against"], Console(width=120))
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "IoU of what moves" in line)
    assert row.split("│")[2].strip() == f"{100 * iou:.1f}" and row.split("│")[3].strip() == "–"
