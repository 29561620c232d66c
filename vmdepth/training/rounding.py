"""Weights on a grid of 8 bits, so that a file of them is a quarter as large."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 4096
"""Numbers that a weight has at least to be worth it: what is small stays as it is."""

_KEPT = ("encoder.patch_embed.proj.weight", "encoder.pos_embed")  # what every other number is computed from


def rounded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kernels and matrices of a state dict rounded to −127 … 127 steps per output channel; the rest as it is.

    A channel's step is the least power of two that reaches its largest weight. A product of the two is exact in
    float32, so a graph can keep 8 bits and compute what the network computes, to the bit. Rounding twice is rounding
    once.
    """
    return {
        name: _rounded(weight) if weight.ndim > 1 and weight.numel() >= SMALLEST and name not in _KEPT else weight
        for name, weight in weights.items()
    }


def on_grid(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The nearest whole numbers, −127 … 127, and the step of each channel along `axis`, broadcastable to the weight."""
    others = [other for other in range(weight.ndim) if other != axis]
    largest = weight.abs().amax(dim=others, keepdim=True).clamp_min(1e-30)
    step = torch.exp2(torch.ceil(torch.log2(largest / 127)))
    return (weight / step).round(), step


def _rounded(weight: Tensor) -> Tensor:
    numbers, step = on_grid(weight.detach(), 0)
    return numbers * step
