"""Temporal heads: what a frame learns from the frames before it, at one tap of the decoder.

Every head has two faces that must agree: `clip` over many frames and `step` for one. Both take the head's states and
return new ones; neither changes its input.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from vmdepth.networks.mamba2 import Mamba2, rms_norm
from vmdepth_runtime.contract import Ring

States = dict[str, Tensor]
StateWatch = Callable[[str, Tensor], None]
"""Called with a block's name and a summary of its state after every frame of a clip, [B, N, C, h, w]."""

CYCLE = 256  # frames after which the time code repeats


def time_code(width: int) -> Tensor:
    """Sinusoidal code [CYCLE, width] of a frame's number modulo CYCLE, in −1..1.

    As in Vaswani et al. 2017, but every frequency is a whole number of turns per CYCLE. So the code of frame n is the
    code of n mod CYCLE for any n, and the counter never needs a number above 255: float32, float16 and bfloat16 all
    hold it exactly, however long the stream runs.
    """
    pairs = (width + 1) // 2
    turns = torch.round((CYCLE / 4) ** (torch.arange(pairs, dtype=torch.float64) / max(pairs - 1, 1)))
    angle = 2 * math.pi / CYCLE * torch.arange(CYCLE, dtype=torch.float64)[:, None] * turns
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width].float()


def next_counter(counter: Tensor, cycle: tuple[int, int]) -> Tensor:
    """The counter of the next frame: it counts from 0 to cycle[1], and goes on from cycle[0]."""
    first, last = cycle
    return torch.where(counter < last, counter + 1, first)


def remember(states: States, after: States, counter: Tensor, ring: Ring | None) -> States:
    """The states for the next frame, from those before this one and what `step` returned of it.

    Without a ring they replace the old ones; with one, copies of the old ones get the new entries. counter: of this
    frame, [B].
    """
    if ring is None:
        return after
    frame, slots = counter.long()[:, None], torch.arange(ring.slots, device=counter.device)
    slot = ring.anchors + (frame - ring.anchors) % (ring.slots - ring.anchors)
    written = (frame == 0) | (slots == slot)  # as `Ring.slot` has it, for every stream
    new = {}
    for name, entry in after.items():
        shape = [len(counter)] + [1] * (states[name].ndim - 1)
        shape[ring.axis] = ring.slots
        new[name] = torch.where(written.view(shape), entry.unsqueeze(ring.axis), states[name])
    return new


class TemporalHead(nn.Module, ABC):
    """The interface. `counter`, float [B], is the number of the (first) frame; `cycle[1]` is followed by `cycle[0]`.

    Call the module itself: a map of one frame, [B, C, h, w], goes to `step`; a clip's, [B, N, C, h, w], to `clip`.
    `ring`: its states are rings of entries, one per frame, of which `step` returns only the new one; None where `step`
    returns states that replace the old ones. A head without a cycle remembers nothing.
    """

    cycle: tuple[int, int] | None = None
    ring: Ring | None = None

    def forward(
        self, x: Tensor, states: States, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, States]:
        return self.step(x, states, counter) if x.ndim == 4 else self.clip(x, states, counter, watch)

    @abstractmethod
    def state_shapes(self, batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """State name → shape, for a tap's map of rows × columns."""

    @abstractmethod
    def clip(
        self, x: Tensor, states: States, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, States]:
        """A clip's maps [B, N, C, h, w] → the same shape, and the states after the last frame.

        watch: told of every recurrent state; rings of past inputs are none.
        """

    @abstractmethod
    def step(self, x: Tensor, states: States, counter: Tensor) -> tuple[Tensor, States]:
        """One frame's map [B, C, h, w] → the same shape, and the states after it (of rings: the new entries)."""


class MambaHead(TemporalHead):
    """`blocks` Mamba-2 mixers over time for every place of the map, in a narrower width, added to the map.

    A depthwise 3 × 3 convolution lets a token know its neighbours before it is cut off from them. `proj_out` starts at
    zero, so an untrained head passes its map through unchanged (as FlashDepth does).
    """

    cycle = (0, CYCLE - 1)

    def __init__(self, channels: int, width: int, blocks: int, head_dim: int, d_state: int, expand: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.Parameter(torch.ones(channels))
        self.proj_in = nn.Linear(channels, width)
        self.block_norms = nn.ParameterList(torch.ones(width) for _ in range(blocks))
        self.blocks = nn.ModuleList(Mamba2(width, head_dim, d_state, expand) for _ in range(blocks))
        self.proj_out = nn.Linear(width, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        self.time_code: Tensor
        self.register_buffer("time_code", time_code(width), persistent=False)

    def _mixers(self) -> Iterator[tuple[int, Tensor, Mamba2]]:
        """Number, weight of the norm before it, and mixer of every block."""
        for index, (norm, block) in enumerate(zip(self.block_norms, self.blocks, strict=True)):
            assert isinstance(block, Mamba2)
            yield index, norm, block

    def state_shapes(self, batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        return {
            f"{index}.{name}": shape
            for index, _, block in self._mixers()
            for name, shape in block.state_shapes(batch, rows * columns).items()
        }

    def clip(
        self, x: Tensor, states: States, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, States]:
        batch, length, channels, rows, columns = x.shape

        def watcher(name: str) -> Callable[[Tensor], None] | None:
            if watch is None:
                return None
            # [B·h·w, N, heads, head_dim] → [B, N, C, h, w]
            shape = (batch, rows, columns, length, -1)
            return lambda state: watch(name, state.flatten(2).reshape(shape).permute(0, 3, 4, 1, 2))

        mixed = x + self.mix(x.flatten(0, 1)).view_as(x)
        tokens = mixed.permute(0, 3, 4, 1, 2).reshape(-1, length, channels)
        tokens = self.proj_in(rms_norm(tokens, self.norm, dim=-1))
        number = (counter.long()[:, None] + torch.arange(length, device=x.device)) % CYCLE
        tokens = tokens + self.time_code[number].repeat_interleave(rows * columns, dim=0)
        new_states = {}
        for index, norm, block in self._mixers():
            ssm, conv = f"{index}.ssm", f"{index}.conv"
            y, new_states[ssm], new_states[conv] = block(
                rms_norm(tokens, norm, dim=-1), states[ssm], states[conv], watcher(ssm)
            )
            tokens = tokens + y
        out = self.proj_out(tokens).reshape(batch, rows, columns, length, channels)
        return x + out.permute(0, 3, 4, 1, 2), new_states

    def step(self, x: Tensor, states: States, counter: Tensor) -> tuple[Tensor, States]:
        # Channels first throughout: the map's own layout and the states', so nothing is transposed per frame.
        tokens = (x + self.mix(x)).flatten(2)
        tokens = self.proj_in.weight @ rms_norm(tokens, self.norm[:, None], dim=1) + self.proj_in.bias[:, None]
        tokens = tokens + self.time_code[counter.long()][:, :, None]
        new_states = {}
        for index, norm, block in self._mixers():
            ssm, conv = f"{index}.ssm", f"{index}.conv"
            y, new_states[ssm], new_states[conv] = block.step(
                rms_norm(tokens, norm[:, None], dim=1), states[ssm], states[conv]
            )
            tokens = tokens + y
        out = self.proj_out.weight @ tokens + self.proj_out.bias[:, None]
        return x + out.view_as(x), new_states
