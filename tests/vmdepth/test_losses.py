"""Losses on cases whose value is known in closed form."""

import math

import pytest
import torch

from vmdepth.losses.affine import affine_invariant_loss, affine_normalise, metric_loss, relative_weight
from vmdepth.losses.gradient import multi_scale_gradient_loss
from vmdepth.losses.states import state_smoothness_loss
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


@pytest.mark.parametrize("odd", [math.inf, math.nan])
def test_what_is_masked_has_no_gradient(depth, odd):
    mask = full(depth)
    mask[:, :, :, 2:4] = False
    truth = torch.where(mask, depth, odd)
    for loss in (
        lambda d: affine_invariant_loss(affine_normalise(d, mask), affine_normalise(truth, mask), mask),
        lambda d: temporal_gradient_loss(affine_normalise(d, mask), affine_normalise(truth, mask), mask),
        lambda d: multi_scale_gradient_loss(d, truth, mask),
        lambda d: metric_loss(d, truth, mask),
    ):
        learnt = (2 * depth).requires_grad_()
        loss(learnt).backward()
        assert learnt.grad.isfinite().all()
        assert learnt.grad[~mask].abs().max() == 0


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


def test_one_fit_per_frame_forgives_what_one_per_clip_does_not(depth):
    mask = full(depth)
    flickering = depth * torch.tensor([1.0, 2.0, 1.0]).view(1, 3, 1, 1, 1) + 1
    per_frame = [affine_normalise(values, mask, "frame") for values in (flickering, depth)]
    assert affine_invariant_loss(*per_frame, mask) < 1e-5
    assert affine_invariant_loss(*(affine_normalise(values, mask) for values in (flickering, depth)), mask) > 0.1


def test_metric_loss_has_a_known_value_and_no_fit():
    truth = torch.tensor([0.0, 0.2, 1.0, 3.0]).view(1, 1, 1, 1, 4)
    mask = full(truth)
    assert metric_loss(truth, truth, mask) == 0
    twice_as_near = 2 * (truth + 0.05) - 0.05
    assert metric_loss(twice_as_near, truth, mask) == pytest.approx(math.log(2))
    assert metric_loss(truth, twice_as_near, mask) == pytest.approx(math.log(2))  # too far costs the same
    mask[..., :2] = False
    assert metric_loss(truth + 1, truth, mask) == pytest.approx((math.log(2.05 / 1.05) + math.log(4.05 / 3.05)) / 2)
    assert metric_loss(truth + 1, truth, torch.zeros_like(mask)) == 0


def test_gradient_loss_of_a_ramp_at_every_scale():
    truth = torch.zeros(1, 1, 1, 16, 16)
    ramp = 0.25 * torch.arange(16.0).expand(1, 1, 1, 16, 16)  # along x alone: 0.25, 0.5, 1, 2 per pixel kept
    assert multi_scale_gradient_loss(ramp, truth, full(truth)) == pytest.approx(0.25 + 0.5 + 1 + 2)
    assert multi_scale_gradient_loss(ramp, truth, full(truth), scales=1) == pytest.approx(0.25)
    assert multi_scale_gradient_loss(truth + 5, truth, full(truth)) == 0


def test_gradient_loss_counts_no_difference_across_what_is_masked():
    truth = torch.zeros(1, 1, 1, 1, 4)
    step = torch.tensor([0.0, 0.0, 9.0, 9.0]).view_as(truth)
    mask = full(truth)
    assert multi_scale_gradient_loss(step, truth, mask, scales=1) == pytest.approx(3)
    mask[..., 2] = False
    assert multi_scale_gradient_loss(step, truth, mask, scales=1) == 0
    nothing = step.clone().requires_grad_()
    loss = multi_scale_gradient_loss(nothing, truth, torch.zeros_like(mask))
    loss.backward()
    assert loss == 0 and nothing.grad.abs().max() == 0


def test_gradient_loss_has_the_gradient_it_should():
    values = torch.tensor([0.0, 1.0, 1.0]).view(1, 1, 1, 1, 3).requires_grad_()
    truth = torch.zeros(1, 1, 1, 1, 3)
    multi_scale_gradient_loss(values, truth, full(truth), scales=1).backward()
    assert values.grad.flatten().tolist() == pytest.approx([-0.5, 0.5, 0.0])  # one of two differences, |1|


def still_everywhere(frames=3):
    still = torch.ones(1, frames, 1, 4, 4, dtype=torch.bool)
    still[:, -1] = False
    return still


def test_smoothness_is_the_relative_square_of_change():
    state = torch.ones(1, 3, 5, 2, 2)
    assert state_smoothness_loss({"a": state}, still_everywhere()) == 0
    state[:, 1] = 3.0  # up by 2, down by 2; the mean square is (1 + 9 + 1) / 3
    assert state_smoothness_loss({"a": state}, still_everywhere()) == pytest.approx(4 / (11 / 3))
    assert state_smoothness_loss({"a": 10 * state}, still_everywhere()) == pytest.approx(4 / (11 / 3))


def test_smoothness_asks_nothing_where_something_moves():
    state = torch.ones(1, 3, 5, 2, 2)
    state[:, 1, :, 0, 0] = 7.0
    still = still_everywhere()
    assert state_smoothness_loss({"a": state}, still) > 0
    still[:, :, :, 1, 1] = False  # one pixel of that place moves
    assert state_smoothness_loss({"a": state}, still) == 0


def test_smoothness_without_states_or_frames_or_stillness_is_zero():
    state = torch.rand(1, 3, 5, 2, 2, requires_grad=True)
    assert state_smoothness_loss({}, still_everywhere()) == 0
    assert state_smoothness_loss({"a": state[:, :1]}, still_everywhere(1)) == 0
    loss = state_smoothness_loss({"a": state}, torch.zeros(1, 3, 1, 4, 4, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and state.grad.isfinite().all()
