"""The size of frames, as people write it."""

from __future__ import annotations

from vmdepth_runtime.errors import InputError


def parse_size(size: str | None) -> tuple[int, int] | None:
    """Height and width of "HxW"; None of None. Raises InputError for anything else."""
    if size is None:
        return None
    height, x, width = size.partition("x")
    if not (x and height.isdigit() and width.isdigit()):
        raise InputError(f"--size {size}: should be HxW, for example 192x272")
    return int(height), int(width)
