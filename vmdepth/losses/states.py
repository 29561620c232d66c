"""How steady the states are while nothing moves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vmdepth.losses.affine import masked_mean_per_clip


def state_smoothness_loss(summaries: dict[str, Tensor], still: Tensor) -> Tensor:
    """Mean of ‖s_{t+1} − s_t‖² over places where nothing moves, relative to the mean of ‖s‖², averaged: a scalar.

    summaries: name of a state → what it holds after every frame, [B, N, C, h, w], at any scales. still: [B, N, 1, H, W]
    bool, the pixel shows the same point in the next frame; a place of a coarser map is still when all its pixels are.
    The division (by a number without gradient) makes one weight fit states of any size, and keeps the network from
    lowering the loss by making its states small. Every clip counts the same; 0 without states, for clips of one frame
    and where everything moves.
    """
    losses = []
    for state in summaries.values():
        if state.shape[1] < 2:
            continue
        moves = functional.adaptive_max_pool2d((~still[:, :-1]).flatten(0, 1).float(), state.shape[-2:])
        quiet = (moves == 0).unflatten(0, still[:, :-1].shape[:2])  # [B, N − 1, 1, h, w]
        change = state.diff(dim=1).pow(2).mean(dim=2, keepdim=True)
        size = state.detach().pow(2).flatten(1).mean(dim=1).clamp_min(1e-8)
        losses.append((masked_mean_per_clip(change, quiet) / size).mean())
    return torch.stack(losses).mean() if losses else torch.zeros((), device=still.device)
