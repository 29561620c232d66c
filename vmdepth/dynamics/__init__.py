"""What moves by itself in a video, told by the attention of a depth network that nobody trained for it.

Queries and keys of regions that move are outliers among those of other frames. `capture` measures that while the
network looks (first pass), `methods` makes masks of it, `second_pass` looks again without what moves, `refinement`
checks masks against depth and cameras.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vmdepth_runtime.errors import InputError


def library(module: str) -> Any:
    """A module of a package that only the extra `dynamics` installs; raises InputError where it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"masks of what moves: {error}; pip install 'vmdepth[dynamics]'") from error
