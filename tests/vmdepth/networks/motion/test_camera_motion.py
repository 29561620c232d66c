"""The camera's motion is fitted to pictures, and what moves besides is what is left."""

import pytest
import torch
import torch.nn.functional as F

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.networks.motion.camera_motion import camera, left, pyramid, solved


def test_systems_are_solved():
    torch.manual_seed(0)
    slopes = torch.randn(3, 11, 200)
    matrix, right = slopes @ slopes.transpose(1, 2), torch.randn(3, 11)
    assert torch.allclose(solved(matrix, right), torch.linalg.solve(matrix, right), atol=1e-4)


@pytest.mark.parametrize("seed", [5, 21])
def test_what_moves_is_left_over(seed):
    clip = render_clips([seed], 5, 192, 272)
    grey = F.avg_pool2d(clip.rgb[0].mean(dim=1, keepdim=True), 2) * 4
    inverse = F.avg_pool2d(1 / clip.depth[0], 4)[:, 0]
    depth = (inverse / inverse.mean())[4:]
    now, then = pyramid(grey[4:]), pyramid(grey[:1])
    found = left(now, then, depth, camera(now, then, depth))
    length = found.flow.norm(dim=1, keepdim=True) * found.inside
    moves = F.avg_pool2d(clip.moving[0, 4:].float(), 2) > 0.5
    assert length[moves].mean() > 2 * length[~moves].mean()
