"""Temporal heads: what a frame learns from the frames before it, at one tap of the decoder.

Every head has two faces that must agree: `clip` over many frames and `step` for one. Both take the head's states and
return new ones; neither changes its input.

A kind of head is a frozen dataclass, `HeadSettings`, which says all that others have to know of it, and builds it.
`vmdepth.networks.heads.kinds` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vmdepth_runtime.contract import Ring

StateTensors = dict[str, Tensor]
StateWatch = Callable[[str, Tensor], None]
"""Called with a block's name and a summary of its state after every frame of a clip, [B, N, C, h, w]."""


def next_counter(counter: Tensor, cycle: tuple[int, int]) -> Tensor:
    """The counter of the next frame: it counts from 0 to cycle[1], and goes on from cycle[0]."""
    first, last = cycle
    return torch.where(counter < last, counter + 1, first)


def remember(states: StateTensors, after: StateTensors, counter: Tensor, ring: Ring | None) -> StateTensors:
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
    """A head at one tap. `counter`, float [B], is the number of the (first) frame, as `HeadSettings.cycle` counts.

    Call the module itself: a map of one frame, [B, C, h, w], goes to `step`; a clip's, [B, N, C, h, w], to `clip`.
    """

    def forward(
        self, x: Tensor, states: StateTensors, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, StateTensors]:
        return self.step(x, states, counter) if x.ndim == 4 else self.clip(x, states, counter, watch)

    @abstractmethod
    def state_shapes(self, batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """State name → shape, for a tap's map of rows × columns."""

    @abstractmethod
    def clip(
        self, x: Tensor, states: StateTensors, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, StateTensors]:
        """A clip's maps [B, N, C, h, w] → the same shape, and the states after the last frame.

        watch: told of every recurrent state; rings of past inputs are none.
        """

    @abstractmethod
    def step(self, x: Tensor, states: StateTensors, counter: Tensor) -> tuple[Tensor, StateTensors]:
        """One frame's map [B, C, h, w] → the same shape, and the states after it (of rings: the new entries)."""


@dataclass(frozen=True)
class HeadSettings(ABC):
    """The settings of a kind of head, the same at every tap, and what follows from them.

    The names of fields are those of checkpoints and of `vmdepth-train`'s settings, so no two kinds use one name for
    two things. Raises ValueError, naming the field, for a value that cannot be.

    kind: its name in both; title: what it is called in messages.
    """

    kind: ClassVar[str]
    title: ClassVar[str]

    @property
    def cycle(self) -> tuple[int, int] | None:
        """The counter of frames goes from 0 to cycle[1] and on from cycle[0]; None for heads that remember nothing."""
        return None

    @property
    def ring(self) -> Ring | None:
        """How states are kept that are rings of entries, one per frame, of which `step` returns only the new one; None
        where `step` returns states that replace the old ones."""
        return None

    @property
    def recurrent(self) -> bool:
        """Whether `clip` tells a watch of states."""
        return False

    @property
    def no_step(self) -> str:
        """Why there is no `step`, and what to do instead; empty where there is one."""
        return ""

    @property
    def longest_clip(self) -> int | None:
        """Frames that a clip may have; None: any number."""
        return None

    @property
    def random_starts(self) -> int:
        """A training clip begins at a counter drawn from 0 … random_starts − 1, its states at their initial values."""
        return 1

    @property
    def offline(self) -> HeadSettings:
        """What the same weights are at their best, the whole clip in sight."""
        return self

    def like(self, ring: Ring | None) -> HeadSettings:
        """The form of the same weights whose states are such rings, where there is one."""
        return self

    def shares_weights(self, other: HeadSettings) -> bool:
        """Whether weights of the one are weights of the other."""
        return self == other

    def with_values(self, values: Mapping[str, Any]) -> HeadSettings:
        """With some fields as somebody asks for. Raises ValueError also for one that changes nothing."""
        return replace(self, **values)

    def check_taps(self, taps: Sequence[str]) -> None:  # noqa: B027 (most fit any)
        """Raise ValueError where the settings do not fit the taps."""

    @abstractmethod
    def build(self, channels: Mapping[str, int]) -> dict[str, TemporalHead]:
        """Fresh heads by tap, which change no depth. channels: of the map at every tap, in the order of `taps`.

        Raises ValueError for channels that cannot be.
        """


@dataclass(frozen=True)
class NoHead(HeadSettings):
    """Every frame on its own."""

    kind = "none"
    title = "temporal heads"

    def build(self, channels: Mapping[str, int]) -> dict[str, TemporalHead]:
        return {}
