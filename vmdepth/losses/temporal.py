"""Losses on how depth changes from frame to frame."""

from __future__ import annotations

from torch import Tensor

from vmdepth.losses.affine import masked_mean_per_clip


def temporal_gradient_loss(normalised: Tensor, truth: Tensor, mask: Tensor, stable: float = 0.05) -> Tensor:
    """Mean absolute difference between the changes over time of two normalised clips: a scalar.

    As the temporal gradient matching of Video Depth Anything (Chen et al. 2025): only pixels whose true change from a
    frame to the next is below `stable` count, so that moving edges do not. Signed changes are compared, since the truth
    is exact. 0 for clips of one frame.
    """
    if normalised.shape[1] < 2:
        return normalised.new_zeros(())
    change, true_change = normalised.diff(dim=1), truth.diff(dim=1)
    counted = mask[:, 1:] & mask[:, :-1] & (true_change.abs() < stable)
    return masked_mean_per_clip((change - true_change).abs(), counted).mean()
