"""The camera's motion is fitted to pictures, and what moves besides is what is left."""

import pytest
import torch

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.networks.motion.camera_motion import bases, blurred, camera, halved, inverted, left, pyramid, resized


def test_systems_are_inverted():
    torch.manual_seed(0)
    slopes = torch.randn(3, 11, 200)
    slopes = slopes / slopes.norm(dim=2, keepdim=True)
    matrix = slopes @ slopes.transpose(1, 2)
    assert torch.allclose(inverted(matrix), torch.linalg.inv(matrix), atol=1e-6)


def test_halves_of_odd_sizes_lie_where_the_whole_does():
    ramp = torch.linspace(-1, 1, 23)[None, None, None].expand(1, 1, 15, 23)
    half = halved(ramp)
    assert half.shape == (1, 1, 8, 12)
    assert half.mean().abs() < 1e-6 and torch.allclose(half, -half.flip(-1), atol=1e-6)
    whole = torch.rand(1, 1, 6, 8)
    assert torch.allclose(halved(whole), torch.nn.functional.avg_pool2d(whole, 2))


@pytest.mark.parametrize("seed", [5, 21])
def test_what_moves_is_left_over(seed):
    clip = render_clips([seed], 5, 192, 272)
    grey = blurred(halved(clip.rgb[0].mean(dim=1, keepdim=True))) * 4
    inverse = halved(1 / clip.depth[0, 4:])
    now, then, basis = pyramid(grey[4:]), pyramid(grey[:1]), bases(inverse / inverse.mean())
    found = left(now, then, basis, camera(now, then, basis))
    length = found.flow.norm(dim=1, keepdim=True) * found.inside
    moves = resized(clip.moving[0, 4:].float(), length) > 0.5
    assert length[moves].median() > 2 * length[~moves].median()


def test_pictures_too_small_to_tell_a_camera_leave_it_where_it_was():
    now, then, basis = (make(torch.rand(1, 1, 6, 9)) for make in (pyramid, pyramid, bases))
    assert torch.equal(camera(now, then, basis)[0], torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))
