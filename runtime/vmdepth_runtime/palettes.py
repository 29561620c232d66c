"""The names of the colours that depth can be shown in; `depth.colour_map.palette` makes their tables."""

from __future__ import annotations

PALETTES = ("inferno", "turbo", "viridis", "magma", "plasma", "cividis", "spectral", "gray")
"""Each goes from far to near. "spectral" is that of Depth Anything's pictures: far is blue, near is red."""

PALETTE = PALETTES[0]
"""The one that is taken where none is asked for."""
