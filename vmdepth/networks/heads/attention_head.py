"""Attention over time at a tap: the motion module of Video Depth Anything (Chen et al. 2025), official names.

Three forms of one module, with the same weights. "bidirectional": every frame of a clip sees the whole clip, the
official network. "causal": a frame sees itself and at most `window` − 1 frames before it. "streaming": the official
streaming rule, in which a frame sees frame 0, one key frame 41 frames back and the 29 frames before it.

Remembered is the normalised input h of each attention, before its position table p is added. Since the table is added
before linear projections, key and value of a remembered frame are W(h + p), and the weights can go to the other side:

    q · W_k (h + p) = (W_kᵀ q) · (h + p)        Σ a W_v (h + p) = W_v Σ a (h + p)

So no remembered frame is ever projected again, positions may change from frame to frame, and one entry serves as key
and value both: half the bytes of keeping projected keys and values. Those would take about half the time in the
attentions on a CPU, but memory and its bandwidth are what an embedded GPU runs out of first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.attention import attend, causal_mask
from vmdepth.networks.heads.base import HeadSettings, StateTensors, StateWatch, TemporalHead, next_counter, remember
from vmdepth.networks.heads.tokens import to_maps, to_sequences
from vmdepth_runtime.contract import Ring

TemporalForm = Literal["bidirectional", "causal", "streaming"]
POSITIONS = 32  # of the published tables: the longest clip, the largest window
HEADS = 8

_SLOT_AXIS = 2  # of a state [B, h·w, slots, C]: all that one place of the map remembers lies together
_GAP = 41  # frames back to the second key frame of official streaming: 2 · 22 − 1 − 2
_RECENT = POSITIONS - 3  # frames that official streaming sees besides itself and the two key frames
_NEVER = -1e4  # in place of −∞: exp() of it is 0, also in float16, and no compiler trips over it


class TemporalAttention(nn.Module):
    """Multi-head attention over time, every place of the map on its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        self.pos_encoder = _Positions(channels)

    def clip(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [sequences, N, C], normalised; mask: additive [N, N]. Returns the same shape."""
        x = x + self.pos_encoder.pe[:, : x.shape[1]]
        query, key, value = (
            project(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for project in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out[0](attend(query, key, value, mask).transpose(1, 2).flatten(2))

    def step(self, x: Tensor, past: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """One frame. x: [B, h·w, C], normalised. past: [B, h·w, slots, C], the same of frames before.

        positions: int [B, slots + 1], the position of every slot and, last, of the frame itself. mask: additive
        [B, 1, 1, slots]. Returns the shape of x.
        """
        table = self.pos_encoder.pe[0][positions]  # [B, slots + 1, C]
        now, table = x + table[:, -1:], table[:, None, :-1]
        per_head = (HEADS, -1, x.shape[-1])
        query = self.to_q(now).unflatten(-1, (HEADS, -1)) * (x.shape[-1] // HEADS) ** -0.5
        query = _each_head(query, self.to_k.weight.view(per_head))
        scores = query @ past.transpose(-2, -1) + query @ table.transpose(-2, -1) + mask
        own = (query * now[:, :, None]).sum(dim=-1, keepdim=True)
        weights = torch.cat([scores, own], dim=-1).softmax(dim=-1)
        before, own = weights[..., :-1], weights[..., -1:]
        mixed = before @ past + before @ table + own * now[:, :, None]
        return self.to_out[0](_each_head(mixed, self.to_v.weight.view(per_head).transpose(1, 2)).flatten(2))


def _each_head(x: Tensor, weight: Tensor) -> Tensor:
    """x [B, h·w, heads, m] times weight [heads, m, n], every head by its own matrix → [B, h·w, heads, n]."""
    # As plain products: an Einsum node knows no bfloat16, and not every compiler makes a product of it.
    return (x.flatten(0, 1).transpose(0, 1) @ weight).transpose(0, 1).unflatten(0, x.shape[:2])


class _Positions(nn.Module):
    """Holds the sinusoidal table [1, POSITIONS, C] (Vaswani et al. 2017) under its official name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        position = torch.arange(POSITIONS, dtype=torch.float64)[:, None]
        angle = position * 10_000 ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
        table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
        self.pe: Tensor
        self.register_buffer("pe", table.float()[None])


class _Gated(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class _FeedForward(nn.Module):
    """GEGLU (Shazeer 2020) and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([_Gated(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([TemporalAttention(channels), TemporalAttention(channels)])
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.ff = _FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)


@dataclass(frozen=True)
class AttentionSettings(HeadSettings):
    """Which frames see each other. All forms have the same weights.

    Attributes:
        temporal: The form: "causal", "bidirectional" or "streaming".
        window: Frames a causal step sees, itself included, 2..32.
    """

    kind = "attention"
    title = "attention over time"

    temporal: TemporalForm = "causal"
    window: int = POSITIONS

    def __post_init__(self) -> None:
        if self.temporal not in get_args(TemporalForm):
            raise ValueError(f"temporal form '{self.temporal}': there are {', '.join(get_args(TemporalForm))}")
        if not 2 <= self.window <= POSITIONS:
            raise ValueError(f"window {self.window}: can be 2..{POSITIONS} frames")

    @property
    def cycle(self) -> tuple[int, int] | None:
        if self.temporal == "streaming":
            return 1, _GAP
        return (self.window - 1, 2 * self.window - 3) if self.temporal == "causal" else None

    @property
    def ring(self) -> Ring | None:
        if self.temporal == "streaming":
            return Ring(1 + _GAP, 1, _SLOT_AXIS)
        return Ring(self.window - 1, 0, _SLOT_AXIS) if self.temporal == "causal" else None

    @property
    def no_step(self) -> str:
        if self.temporal != "bidirectional":
            return ""
        return "a bidirectional network has no step; load it with temporal='causal' or 'streaming' (commands: --causal)"

    @property
    def longest_clip(self) -> int | None:
        return POSITIONS if self.temporal == "bidirectional" else None

    @property
    def offline(self) -> AttentionSettings:
        return replace(self, temporal="bidirectional")

    def like(self, ring: Ring | None) -> AttentionSettings:
        if ring is None:
            return self
        # Official streaming keeps its first frame for ever; a causal window does not.
        if ring.anchors:
            return replace(self, temporal="streaming")
        return replace(self, temporal="causal", window=ring.slots + 1)

    def shares_weights(self, other: HeadSettings) -> bool:
        return isinstance(other, AttentionSettings)

    def with_values(self, values: Mapping[str, Any]) -> AttentionSettings:
        asked = replace(self, **values)
        if "window" in values and asked.temporal != "causal":
            raise ValueError(f"window={asked.window}: belongs to temporal=causal, not to {asked.temporal}")
        return asked

    def build(self, channels: Mapping[str, int]) -> dict[str, TemporalHead]:
        return {tap: AttentionHead(number, self) for tap, number in channels.items()}


class AttentionHead(TemporalHead):
    """The motion module at one tap.

    Without states a causal clip is as long as the window at most, a bidirectional one 32 frames. `proj_out` starts at
    zero, so an untrained head passes its map through unchanged. Raises ValueError for a clip that is too long.
    """

    def __init__(self, channels: int, settings: AttentionSettings) -> None:
        super().__init__()
        self.form, self.window = settings.temporal, settings.window
        self.ring, self.cycle, self.longest_clip = settings.ring, settings.cycle, settings.longest_clip
        self.norm = nn.GroupNorm(math.gcd(32, channels), channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([_Block(channels)])
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        if self.form == "bidirectional":
            return
        positions, seen = _streaming_positions() if self.form == "streaming" else _causal_positions(self.window)
        self.positions: Tensor
        self.mask: Tensor
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("mask", torch.where(seen, 0.0, _NEVER)[:, None, None], persistent=False)

    @property
    def block(self) -> _Block:
        block = self.transformer_blocks[0]
        assert isinstance(block, _Block)
        return block

    def state_shapes(self, batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        if self.ring is None:
            return {}
        shape = (batch, rows * columns, self.ring.slots, self.proj_in.in_features)
        return {"0.inputs": shape, "1.inputs": shape}

    def clip(
        self, x: Tensor, states: StateTensors, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, StateTensors]:
        length = x.shape[1]
        if self.longest_clip is not None and length > self.longest_clip:
            raise ValueError(
                f"a clip of {length} frames: the network takes {self.longest_clip} at most; cut it into windows"
            )
        # A mask gives every frame its position in the clip: that in the window only while the window is not full.
        masked = self.form == "causal" and length <= self.window and not counter.any()
        if self.cycle is None or masked:
            return self._whole_clip(x, states)
        out = []
        for frame in x.unbind(1):
            y, entries = self.step(frame, states, counter)
            states = remember(states, entries, counter, self.ring)
            counter = next_counter(counter, self.cycle)
            out.append(y)
        return torch.stack(out, dim=1), states

    def _whole_clip(self, x: Tensor, states: StateTensors) -> tuple[Tensor, StateTensors]:
        batch, length, _, rows, columns = x.shape
        mask = causal_mask(length, x.device).to(x.dtype) if self.form == "causal" else None
        tokens = self.proj_in(to_sequences(self.norm(x.flatten(0, 1)).unflatten(0, (batch, length))))
        new_states = {}
        for index, (norm, attention) in enumerate(zip(self.block.norms, self.block.attention_blocks, strict=True)):
            assert isinstance(attention, TemporalAttention)
            normalised = norm(tokens)
            tokens = tokens + attention.clip(normalised, mask)
            if self.ring is not None:
                ring = self._filled(normalised.unflatten(0, (batch, -1)))
                new_states[f"{index}.inputs"] = ring.to(states[f"{index}.inputs"].dtype)  # under autocast too
        tokens = self.proj_out(tokens + self.block.ff(self.block.ff_norm(tokens)))
        return x + to_maps(tokens, rows, columns), new_states

    def _filled(self, entries: Tensor) -> Tensor:
        """The ring after the first frames [B, h·w, N, C] of a stream."""
        assert self.ring is not None
        newest = [0] * self.ring.slots
        for frame in range(1, entries.shape[2]):
            slot = self.ring.slot(frame)
            assert slot is not None
            newest[slot] = frame
        return entries[:, :, newest]

    def step(self, x: Tensor, states: StateTensors, counter: Tensor) -> tuple[Tensor, StateTensors]:
        number = counter.long()
        positions, mask = self.positions[number], self.mask[number].to(x.dtype)
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        entries = {}
        for index, (norm, attention) in enumerate(zip(self.block.norms, self.block.attention_blocks, strict=True)):
            assert isinstance(attention, TemporalAttention)
            name = f"{index}.inputs"
            entries[name] = norm(tokens)
            tokens = tokens + attention.step(entries[name], states[name], positions, mask)
        tokens = self.proj_out(tokens + self.block.ff(self.block.ff_norm(tokens)))
        return x + tokens.transpose(1, 2).reshape(x.shape), entries


def _streaming_positions() -> tuple[Tensor, Tensor]:
    """For counters 0.._GAP: position of every slot and of the frame itself; which slots are seen.

    Slot 0 holds frame 0; slot s > 0 the newest earlier frame n with n ≡ s modulo _GAP, or frame 0 while there is none.
    """
    counter, slot = torch.arange(_GAP + 1)[:, None], torch.arange(_GAP + 1)
    age = (counter - slot - 1) % _GAP + 1
    seen = (age <= _RECENT) | (age == _GAP)
    position = torch.where(age == _GAP, 1, POSITIONS - 1 - age)
    position[:, 0], seen[:, 0] = 0, True
    seen[0] = False  # the first frame sees itself alone, at position 0
    own = torch.where(counter == 0, 0, POSITIONS - 1)
    return torch.cat([torch.where(seen, position, 0), own], dim=1), seen


def _causal_positions(window: int) -> tuple[Tensor, Tensor]:
    """The same for a window: positions count from the oldest frame seen, as in a clip."""
    slots = window - 1
    counter, slot = torch.arange(2 * slots)[:, None], torch.arange(slots)
    age = (counter - slot - 1) % slots + 1
    seen, own = age <= counter, counter.clamp_max(slots)
    return torch.cat([torch.where(seen, own - age, 0), own], dim=1), seen
