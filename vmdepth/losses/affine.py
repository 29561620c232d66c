"""Depth losses that do not care for scale and shift: relative depth has none to speak of."""

from __future__ import annotations

import torch
from torch import Tensor


def affine_normalise(depth: Tensor, mask: Tensor) -> Tensor:
    """Each clip to median 0 and mean absolute deviation 1 over its valid pixels (Ranftl et al. 2020, eq. 5).

    depth: [B, N, 1, H, W]. mask: bool, same shape. One shift and scale for a whole clip, so its frames must agree.
    A clip with nothing valid, or with constant depth, comes back near 0. Invalid pixels have no meaning.
    """
    valid = torch.where(mask, depth, torch.nan).flatten(1)
    median = valid.nanmedian(dim=1).values.nan_to_num()
    centred = depth - median.view(-1, 1, 1, 1, 1)
    deviation = masked_mean_per_clip(centred.abs(), mask)
    return centred / deviation.clamp_min(1e-6).view(-1, 1, 1, 1, 1)


def affine_invariant_loss(normalised: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of two normalised clips over valid pixels: a scalar.

    normalised, truth: results of `affine_normalise`, [B, N, 1, H, W]. Every clip counts the same.
    """
    return masked_mean_per_clip((normalised - truth).abs(), mask).mean()


def masked_mean_per_clip(values: Tensor, mask: Tensor) -> Tensor:
    """Mean [B] of [B, ...] over what the bool mask of the same shape lets through; 0 where that is nothing."""
    total = torch.where(mask, values, 0).flatten(1).sum(dim=1)
    return total / mask.flatten(1).sum(dim=1).clamp_min(1)
