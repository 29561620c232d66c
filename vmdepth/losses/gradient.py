"""Depth edges: where they are and how sharp."""

from __future__ import annotations

import torch
from torch import Tensor

from vmdepth.losses.affine import masked_mean_per_clip


def multi_scale_gradient_loss(normalised: Tensor, truth: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Mean absolute gradient of the difference of two normalised clips, summed over `scales`: a scalar.

    Σ_k mean(|∂x R_k| + |∂y R_k|), R the difference and R_k every 2^k-th pixel of it (Li & Snavely 2018; Ranftl et al.
    2020, eq. 11). A difference counts where both of its pixels are valid. normalised, truth: [B, N, 1, H, W]; mask:
    bool, same shape. Every clip counts the same; 0 where nothing is valid.
    """
    difference = torch.where(mask, normalised - truth, 0)
    total = normalised.new_zeros(())
    for scale in range(scales):
        part, valid = difference[..., :: 2**scale, :: 2**scale], mask[..., :: 2**scale, :: 2**scale]
        for dim in (-2, -1):
            size = part.shape[dim]
            if size < 2:
                continue
            both = valid.narrow(dim, 1, size - 1) & valid.narrow(dim, 0, size - 1)
            total = total + masked_mean_per_clip(part.diff(dim=dim).abs(), both).mean()
    return total
