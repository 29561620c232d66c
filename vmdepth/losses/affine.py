"""Depth losses that do not care for scale and shift: relative depth has none to speak of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Fit = Literal["clip", "frame"]


def affine_normalise(depth: Tensor, mask: Tensor, fit: Fit = "clip") -> Tensor:
    """Each clip to median 0 and mean absolute deviation 1 over its valid pixels (Ranftl et al. 2020, eq. 5).

    depth: [B, N, 1, H, W]. mask: bool, same shape. One shift and scale for a whole clip, so its frames must agree; or,
    with fit="frame", for every frame, where the truth itself has them (a teacher that sees frames alone).
    A clip with nothing valid, or with constant depth, comes back near 0. Invalid pixels have no meaning.

    Not the least-squares fit, which MiDaS offers as well: it gives a clip whose near and far are exchanged a negative
    scale and no loss at all.
    """
    if fit == "frame":
        frames = affine_normalise(depth.flatten(0, 1)[:, None], mask.flatten(0, 1)[:, None])
        return frames[:, 0].unflatten(0, depth.shape[:2])
    centred, deviation = _centred_and_deviation(depth, mask)
    return centred / deviation.clamp_min(1e-6)


def affine_invariant_loss(normalised: Tensor, truth: Tensor, mask: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Mean weighted absolute difference of two normalised clips over valid pixels: a scalar.

    normalised, truth: results of `affine_normalise`, [B, N, 1, H, W]. weight: of every pixel, ≥ 0. Every clip counts
    the same.
    """
    return masked_mean_per_clip((normalised - truth).abs() * weight, mask).mean()


def relative_weight(inverse_depth: Tensor, mask: Tensor) -> Tensor:
    """Weights [B, N, 1, H, W] that turn a difference of normalised clips into one relative to the true inverse depth.

    inverse_depth: true, 1/m, ≥ 0. Without them what is near decides the loss alone: a wall at 10 m may land at 5 or
    20 m for the price of a centimetre at arm's length. Beyond 20 m the weight grows no further by much.
    """
    _, deviation = _centred_and_deviation(inverse_depth, mask)
    return deviation / (inverse_depth + 0.05)


def metric_loss(inverse_depth: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean of |log(d + 0.05) − log(d* + 0.05)| over valid pixels, no fit: a scalar; inverse depths in 1/m, ≥ 0.

    [B, N, 1, H, W]. The relative error of depth, out to 20 m. It ties all clips to one scale: what is relative depth by
    contract keeps its scale over a stream only if training ever asks for it. In logarithms, because a network that is
    unsure then says the middle; divided by d* instead, it said 1.4 times too far. Clips with nothing valid count as 0.
    """
    far = 0.05
    # Masked before the logarithm: what is infinite afterwards has no gradient, but it has one times 0.
    ratio = torch.where(mask, (inverse_depth + far) / (torch.where(mask, truth, 0) + far), 1)
    return masked_mean_per_clip(ratio.log().abs(), mask).mean()


def _centred_and_deviation(depth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """depth less its clip's median, [B, N, 1, H, W], and the mean absolute value of that, [B, 1, 1, 1, 1]."""
    median = torch.where(mask, depth, torch.nan).flatten(1).nanmedian(dim=1).values.nan_to_num()
    centred = depth - median.view(-1, 1, 1, 1, 1)
    return centred, masked_mean_per_clip(centred.abs(), mask).view(-1, 1, 1, 1, 1)


def masked_mean_per_clip(values: Tensor, mask: Tensor) -> Tensor:
    """Mean [B] of [B, ...] over what the bool mask of the same shape lets through; 0 where that is nothing."""
    total = torch.where(mask, values, 0).flatten(1).sum(dim=1)
    return total / mask.flatten(1).sum(dim=1).clamp_min(1)
