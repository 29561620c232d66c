"""Rotary positions (Su et al. 2021) on a grid of patches: half of a head's channels tell the row, half the column."""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 100.0


class GridRotation:
    """Turns queries and keys [..., tokens, d] by the places of their tokens; d is a multiple of 4.

    places: row and column of every token, [tokens, 2]. Of the d/2 channels of an axis, channel c and c + d/4 are a
    pair (a, b), turned by place · 100^(−c / (d/4)) to (a cos − b sin, b cos + a sin).
    """

    def __init__(self, places: Tensor, head_dim: int, like: Tensor) -> None:
        waves = BASE ** (-torch.arange(head_dim // 4, dtype=torch.float64) / (head_dim // 4))
        angle = places.double().cpu()[:, :, None] * waves  # [tokens, 2, d/4], a pair's two channels share it
        self.cos = angle.cos().to(like)
        self.sin = angle.sin().to(like)

    def __call__(self, x: Tensor) -> Tensor:
        a, b = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        return torch.stack([a * self.cos - b * self.sin, b * self.cos + a * self.sin], dim=-2).flatten(-3)


def patch_positions(rows: int, columns: int) -> Tensor:
    """[1 + rows · columns, 2]: the special token at (0, 0), the patch in row r and column c at (r + 1, c + 1)."""
    grid = torch.cartesian_prod(torch.arange(1, rows + 1), torch.arange(1, columns + 1))
    return torch.cat([torch.zeros(1, 2, dtype=grid.dtype), grid])


def shared_positions(rows: int, columns: int) -> Tensor:
    """[1 + rows · columns, 2]: the special token at (0, 0), every patch at (1, 1): across views places mean nothing."""
    places = torch.ones(1 + rows * columns, 2, dtype=torch.long)
    places[0] = 0
    return places
