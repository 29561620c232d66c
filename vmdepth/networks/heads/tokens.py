"""Clips of maps as one sequence over time for every place of the map, and back."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor


def to_sequences(maps: Tensor) -> Tensor:
    """A clip's maps [B, N, C, h, w] → [B·h·w, N, C], places of a map row by row, one stream after the other."""
    return rearrange(maps, "b n c h w -> (b h w) n c")


def to_maps(sequences: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse: sequences [B·rows·columns, N, C] → [B, N, C, rows, columns]."""
    return rearrange(sequences, "(b h w) n c -> b n c h w", h=rows, w=columns)
