"""Losses on cases whose value is known in closed form."""

import pytest
import torch

from vmdepth.losses.affine import affine_invariant_loss, affine_normalise, relative_weight
from vmdepth.losses.temporal import temporal_gradient_loss


@pytest.fixture
def depth():
    return torch.rand(2, 3, 1, 6, 8, generator=torch.Generator().manual_seed(0)) + 0.1


def full(depth):
    return torch.ones_like(depth, dtype=torch.bool)


def test_an_affine_pair_has_no_loss(depth):
    mask = full(depth)
    a, b = affine_normalise(depth, mask), affine_normalise(7 * depth - 3, mask)
    assert affine_invariant_loss(a, b, mask) < 1e-5
    assert temporal_gradient_loss(a, b, mask, stable=10) < 1e-5


def test_one_affine_map_counts_for_the_whole_clip_not_for_a_frame(depth):
    mask = full(depth)
    flickering = depth * torch.tensor([1.0, 2.0, 1.0]).view(1, 3, 1, 1, 1)
    assert affine_invariant_loss(affine_normalise(flickering, mask), affine_normalise(depth, mask), mask) > 0.1


def test_near_and_far_exchanged_is_not_forgiven(depth):
    mask = full(depth)
    assert affine_invariant_loss(affine_normalise(-depth, mask), affine_normalise(depth, mask), mask) > 1


def test_normalised_has_median_0_and_deviation_1_over_valid_pixels(depth):
    mask = depth > 0.5
    normalised = affine_normalise(depth, mask)
    for clip, valid in zip(normalised, mask, strict=True):
        assert clip[valid].median().abs() < 1e-6
        assert (clip[valid].abs().mean() - 1).abs() < 1e-5


def test_invalid_pixels_count_for_nothing(depth):
    mask = full(depth)
    mask[:, :, :, 2:4] = False
    spoilt = torch.where(mask, depth, torch.inf)
    a, b = affine_normalise(depth, mask), affine_normalise(spoilt, mask)
    assert affine_invariant_loss(a, b, mask) < 1e-6
    assert temporal_gradient_loss(a, b, mask, stable=10) < 1e-6


def test_nothing_valid_is_zero_not_nan(depth):
    nothing = torch.zeros_like(depth, dtype=torch.bool)
    a = affine_normalise(depth.requires_grad_(), nothing)
    loss = affine_invariant_loss(a, a.detach() + 1, nothing) + temporal_gradient_loss(a, a.detach(), nothing)
    assert loss == 0
    loss.backward()
    assert depth.grad.isfinite().all()


def test_known_values():
    truth = torch.zeros(1, 3, 1, 2, 2)
    moving = truth.clone()
    moving[:, 1] = 0.5  # up by a half, down by a half
    mask = full(truth)
    assert affine_invariant_loss(moving, truth, mask) == pytest.approx(0.5 / 3)
    assert temporal_gradient_loss(moving, truth, mask) == pytest.approx(0.5)
    # Where the truth itself changes by more than `stable`, nothing is asked.
    assert temporal_gradient_loss(truth, moving, mask) == 0


def test_a_single_frame_has_no_temporal_gradient(depth):
    one = depth[:, :1]
    assert temporal_gradient_loss(one, one + 1, full(one)) == 0


def test_relative_weights_make_the_loss_a_relative_error():
    inverse = torch.tensor([0.1, 0.2, 0.5, 1.0, 2.0]).view(1, 1, 1, 1, 5)
    mask = full(inverse)
    # Same median and deviation, one near and one far pixel off: the far one by the larger share of its truth.
    off = inverse + torch.tensor([0.05, 0.0, 0.0, 0.0, 0.05]).view(1, 1, 1, 1, 5)
    deviation = (inverse - 0.5).abs().mean()
    a, b = (off - 0.5) / deviation, affine_normalise(inverse, mask)
    loss = affine_invariant_loss(a, b, mask, relative_weight(inverse, mask))
    assert loss == pytest.approx((0.05 / 0.15 + 0.05 / 2.05) / 5, rel=1e-4)
