"""Scaled dot-product attention in two forms that give the same numbers, and the causal mask.

`fused` is PyTorch's own kernel, the faster one to train with. `explicit` is the same formula in plain operations:
what is exported, since fused attention operators are what deployment compilers get wrong most often.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

AttentionForm = Literal["fused", "explicit"]

# Turns queries or keys [..., tokens, d] by their places; sees queries and keys [images, heads, tokens, d].
Rotation = Callable[[Tensor], Tensor]
Watch = Callable[[Tensor, Tensor], None]
# What queries find in keys and values, [images, heads, tokens, d] each; of the shape of the queries.
Meeting = Callable[[Tensor, Tensor, Tensor], Tensor]


def _form_from_environment() -> AttentionForm:
    value = os.environ.get("VMDEPTH_ATTENTION", "fused")
    for form in get_args(AttentionForm):
        if value == form:
            return form
    raise ValueError(f"VMDEPTH_ATTENTION={value}: it can be 'fused' or 'explicit'")


_form: ContextVar[AttentionForm | None] = ContextVar("vmdepth_attention", default=None)


def attention_form() -> AttentionForm:
    """The form in force: that of the innermost `use_attention`, else `VMDEPTH_ATTENTION`, else "fused"."""
    return _form.get() or _form_from_environment()


@contextmanager
def use_attention(form: AttentionForm) -> Iterator[None]:
    """Compute attention in the given form inside the block. Raises ValueError for an unknown form."""
    if form not in get_args(AttentionForm):
        raise ValueError(f"attention form '{form}': it can be 'fused' or 'explicit'")
    token = _form.set(form)
    try:
        yield
    finally:
        _form.reset(token)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √d + mask) v (Vaswani et al. 2017, eq. 1).

    query, key, value: [..., heads, tokens, d], floating point. mask: additive, broadcast to [..., tokens, tokens].
    Returns the shape and dtype of query.
    """
    if attention_form() == "fused":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # Scaling the query first keeps the scores small, which matters once they are float16.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1) @ value


def attend_in_rows(query: Tensor, key: Tensor, value: Tensor, rows: int | None) -> Tensor:
    """`attend` for `rows` queries at a time (None: all at once), each against all keys.

    The softmax of a query needs all its keys and no other query, so the result is that of `attend`. Shapes as there.
    """
    if rows is None or rows >= query.shape[-2]:
        return attend(query, key, value)
    return torch.cat([attend(part, key, value) for part in query.split(rows, dim=-2)], dim=-2)


def causal_mask(length: int, device: torch.device) -> Tensor:
    """Additive mask [length, length] float32: 0 where column ≤ row (the past and now), −inf above (the future)."""
    return torch.full((length, length), float("-inf"), device=device).triu(1)
