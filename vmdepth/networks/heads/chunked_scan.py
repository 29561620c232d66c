"""The recurrence of Mamba-2 mixers by the Triton kernels of mamba-ssm: their memory grows with N, not N².

Kernels: `mamba_ssm.ops.triton.ssd_combined.mamba_chunk_scan_combined` (Dao & Gu 2024, section 6).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

import torch
from torch import Tensor

from vmdepth.networks.heads.scan import StateMeans

_SHORTEST, _LONGEST = 16, 64  # frames of a chunk: below 16 products are padded; each frame takes as many numbers
_GRID = 65_535  # blocks along the second axis of a CUDA grid, where the kernels have sequences · chunks
_OFFSETS = 2**31 - 1  # the kernels count numbers of an array in 32 bits


@cache
def kernels() -> Callable[..., Any]:
    """`mamba_chunk_scan_combined`. Raises ImportError, saying what is missing, where it cannot be had."""
    # Products of float32 would be rounded to TF32, ten bits, and states drift. From the environment Triton knows that
    # kernels which it compiled otherwise are others.
    os.environ.setdefault("TRITON_F32_DEFAULT", "ieee")
    name = "mamba_ssm"
    if name in sys.modules:
        return _combined()
    spec = find_spec(name)
    if spec is None:
        raise ModuleNotFoundError("No module named 'mamba_ssm'")
    # Not by the package itself: that loads all of its models, and extensions that have to be compiled for one torch and
    # one CUDA, of which these kernels need nothing.
    sys.modules[name] = module_from_spec(spec)
    try:
        return _combined()
    finally:
        del sys.modules[name]


def _combined() -> Callable[..., Any]:
    return import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined


def chunked(
    x: Tensor,
    dt: Tensor,
    b: Tensor,
    c: Tensor,
    state: Tensor,
    a: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    watch: StateMeans | None = None,
) -> tuple[Tensor, Tensor]:
    """The chunked form: see `Scan`. Tensors on a CUDA device.

    Raises ImportError where mamba-ssm cannot be used.
    """
    scan, length = kernels(), x.shape[1]
    chunk = min(max(_SHORTEST, 1 << (length - 1).bit_length()), _LONGEST)
    rates = {"chunk_size": chunk, "dt_bias": dt_bias, "dt_softplus": True}
    outputs, states, means = [], [], []
    for part in _slices(chunk, x, dt, b, c, state):
        values, steps, into, out_of, before = part
        into, out_of = into.unsqueeze(2), out_of.unsqueeze(2)  # one group for all heads
        y, after = scan(values, steps, a, into, out_of, D=d, initial_states=before, return_final_states=True, **rates)
        outputs.append(y)
        states.append(after)
        if watch is not None:
            # The recurrence read by the same number everywhere instead of C_t.
            even = torch.full_like(out_of, 1 / out_of.shape[-1])
            means.append(scan(values, steps, a, into, even, initial_states=before, **rates))
    if watch is not None:
        watch(_joined(means))
    return _joined(outputs), _joined(states)


def _joined(parts: list[Tensor]) -> Tensor:
    """All sequences; of one slice, which is usual, the tensor itself and no copy."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _slices(chunk: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """As many sequences of all tensors [S, …] at once as the kernels can count; x is the first, the state the last."""
    chunks = math.ceil(tensors[0].shape[1] / chunk)
    state = tensors[-1][0].numel()
    largest = max(*(tensor.stride(0) for tensor in tensors), chunks * chunk * chunk, (chunks + 1) * state)
    return zip(*(tensor.split(min(_GRID // chunks, _OFFSETS // largest)) for tensor in tensors), strict=True)
