"""What stays float32 in a network of half precision. Of what changes no type, nothing is exported."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """float32 of what is in half precision; anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def in_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in that type."""
    return x if x.dtype == dtype else x.to(dtype)
