"""What remembering inputs saves: the heads of a video network against projecting the whole window again every frame."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vmdepth.networks.heads.attention_head import HEADS, AttentionHead, TemporalAttention
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.video_depth import VideoDepth

_WARM_UP = 3


def head_times(model: VideoDepth, height: int, width: int, frames: int) -> dict[str, float]:
    """Milliseconds per frame in all temporal heads, medians: "step" as it is, "re-projected" the official way.

    The rings are full and hold noise; the two take turns. Raises ValueError for a network without ring states.
    """
    if model.ring is None:
        raise ValueError("only attention over time has a window to project again")
    states = {name: torch.randn(shape) for name, shape in model.state_shapes(1, height, width).items()}
    counter = torch.tensor([float(model.ring.slots - 1)])
    heads = []
    for tap, head in model.heads.items():
        assert isinstance(head, AttentionHead)
        image = torch.randn(1, head.proj_in.in_features, *model.decoder.tap_size(tap, height, width))
        own = {name.removeprefix(f"{tap}."): state for name, state in states.items() if name.startswith(f"{tap}.")}
        heads.append((head, image, own))
    seconds: dict[str, list[float]] = {"step": [], "re-projected": []}
    with torch.inference_mode():
        for _ in range(_WARM_UP + frames):
            for name, step in (("step", AttentionHead.step), ("re-projected", reprojecting_step)):
                start = perf_counter()
                for head, image, own in heads:
                    step(head, image, own, counter)
                seconds[name].append(perf_counter() - start)
    return {name: 1e3 * float(np.median(times[_WARM_UP:])) for name, times in seconds.items()}


def reprojecting_step(
    head: AttentionHead, x: Tensor, states: StateTensors, counter: Tensor
) -> tuple[Tensor, StateTensors]:
    """`AttentionHead.step` as the official streaming code computes it: the same numbers, for one stream.

    The window is gathered from the cache, gets its positions, and all of it is projected to keys and values.
    """
    number = int(counter[0])
    seen = (head.mask[number].flatten() == 0).nonzero().flatten()
    seen = seen[head.positions[number][seen].argsort()]
    positions = torch.cat([head.positions[number][seen], head.positions[number][-1:]])
    tokens = head.proj_in(head.norm(x).flatten(2).transpose(1, 2))
    block = head.block
    entries = {}
    for index, (norm, attention) in enumerate(zip(block.norms, block.attention_blocks, strict=True)):
        assert isinstance(attention, TemporalAttention)
        name = f"{index}.inputs"
        entries[name] = norm(tokens)
        past = states[name][0].index_select(1, seen)
        window = torch.cat([past, entries[name][0][:, None]], dim=1) + attention.pos_encoder.pe[0, positions]
        key, value = (
            project(window).unflatten(-1, (HEADS, -1)).transpose(1, 2) for project in (attention.to_k, attention.to_v)
        )
        query = attention.to_q(window[:, -1:]).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + attention.to_out[0](mixed)[:, 0][None]
    tokens = head.proj_out(tokens + block.ff(block.ff_norm(tokens)))
    return x + tokens.transpose(1, 2).reshape(x.shape), entries
