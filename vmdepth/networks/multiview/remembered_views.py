"""Attention of a global block over the frames of a video: over those remembered, over a clip with the causal mask, and
over a clip without it. They agree wherever they see the same frames.

Queries, keys and values of frames are [n, heads, tokens, d]; a ring of remembered ones [B, heads, slots, tokens, d].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vmdepth.networks.attention import attend, attention_form
from vmdepth.networks.heads.base import StateTensors, remember
from vmdepth_runtime.contract import Ring

SLOT_AXIS = 2  # just before the tokens, so that what a head remembers is one row of tokens as it lies

_NEVER = -1e4  # in place of −∞: exp() of it is 0, also in float16, and no compiler trips over it


def slot_mask(counter: Tensor, slots: int, tokens: int) -> Tensor:
    """Which tokens the frames with these numbers [B] see: additive [B, 1, 1, (slots + 1) · tokens], their own last.

    Slot s holds a frame of its own from frame s + 1 on; before, it is empty or a copy of frame 0.
    """
    seen = torch.arange(slots, device=counter.device) < counter[:, None]
    past = torch.where(seen, 0.0, _NEVER)[:, :, None].expand(-1, -1, tokens).flatten(1)
    return torch.cat([past, past.new_zeros(len(counter), tokens)], dim=1)[:, None, None]


def attend_past(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """What frames [B, ...] find in themselves and in rings. mask: as `slot_mask` makes it, of that many slots."""
    keys = torch.cat([keys.flatten(2, 3), key], dim=2)
    values = torch.cat([values.flatten(2, 3), value], dim=2)
    if attention_form() == "fused":  # whose operator in graphs takes no mask that all queries share
        mask = mask.expand(-1, -1, query.shape[2], -1)
    return attend(query, keys, values, mask.to(query.dtype))


def attend_clip(
    query: Tensor, key: Tensor, value: Tensor, rings: StateTensors, counters: Sequence[Tensor], ring: Ring
) -> tuple[Tensor, StateTensors]:
    """What every frame of a clip finds in itself and in those before it that it sees.

    Args:
        query: of the clip's frames [B·N, heads, tokens, d].
        key: likewise.
        value: likewise.
        rings: of keys and of values, by their names in this order, as they are before the clip.
        counters: the number [B] of each of the N frames.
        ring: how they are kept.

    Returns:
        The shape of `query`, and the rings after the clip.
    """
    queries, keys, values = (x.unflatten(0, (-1, len(counters))).unbind(1) for x in (query, key, value))
    found = []
    for counter, own_query, own_key, own_value in zip(counters, queries, keys, values, strict=True):
        # The slots in front fill first: what no stream has reached yet need not be looked at.
        slots = min(ring.slots, int(counter.max()))
        past_keys, past_values = (past[:, :, :slots].to(query.dtype) for past in rings.values())
        mask = slot_mask(counter, slots, query.shape[2])
        found.append(attend_past(own_query, own_key, own_value, past_keys, past_values, mask))
        rings = remember(rings, dict(zip(rings, (own_key, own_value), strict=True)), counter, ring)
    return torch.stack(found, dim=1).flatten(0, 1), rings


def attend_all(query: Tensor, key: Tensor, value: Tensor, frames: int) -> Tensor:
    """What the frames of clips, [B·frames, heads, tokens, d] each, find where every frame sees all of its clip."""
    tokens = query.shape[2]
    joined = (x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(2, 3) for x in (query, key, value))
    return attend(*joined).unflatten(2, (frames, tokens)).transpose(1, 2).flatten(0, 1)
