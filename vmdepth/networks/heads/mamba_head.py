"""The Mamba-2 head: recurrent states of a fixed size for every place of a tap's map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.heads.base import HeadSettings, StateTensors, StateWatch, TemporalHead
from vmdepth.networks.heads.mamba2 import Mamba2, rms_norm
from vmdepth.networks.heads.tokens import to_maps, to_sequences

CYCLE = 256  # frames after which the time code repeats

# Taps on maps no finer than the encoder's last. Few places, so a second block costs little.
_COARSE = ("layer_3", "layer_4", "path_4")


@dataclass(frozen=True)
class MambaSettings(HeadSettings):
    """Sizes of the heads. The state of a mixer is expand · temporal_width · d_state numbers per place of the map.

    Attributes:
        temporal_width: Channels of a token inside the head.
        head_dim: Channels of a mixer's head, as in `Mamba2`.
        d_state: State per channel of a mixer.
        expand: Inner channels of a mixer per channel.
        blocks: Mixers at every tap, in the order of the taps, as 2,1,1, or one number for all; empty: two where the map
            is no finer than the encoder's last, else one.
        feed_forward: Inner channels per channel of the feed-forward part after every mixer; 0: none.
        time_code: Whether tokens are told their frame's number. It tells nothing of the picture, and heads that listen
            to it move depth with it: to a stream that stands still, `False` gives depth that stands still.
    """

    kind = "mamba2"
    title = "Mamba-2 heads"

    temporal_width: int = 64
    head_dim: int = 16
    d_state: int = 16
    expand: int = 1
    blocks: tuple[int, ...] = ()
    feed_forward: int = 0
    time_code: bool = True

    def __post_init__(self) -> None:
        for name in ("temporal_width", "head_dim", "d_state", "expand"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")
        if self.expand * self.temporal_width % self.head_dim:
            raise ValueError(
                f"temporal_width={self.temporal_width}: times expand={self.expand} it should be a multiple of "
                f"head_dim={self.head_dim}"
            )
        if any(count < 1 for count in self.blocks):
            raise ValueError(f"blocks={_listed(self.blocks)}: every tap has one at least")
        if self.feed_forward < 0:
            raise ValueError(f"feed_forward={self.feed_forward}: must not be negative")

    @property
    def cycle(self) -> tuple[int, int]:
        return 0, CYCLE - 1

    @property
    def recurrent(self) -> bool:
        return True

    @property
    def random_starts(self) -> int:
        return CYCLE  # no number of the time code may come to mean "just started"

    def shares_weights(self, other: HeadSettings) -> bool:
        return isinstance(other, MambaSettings) and replace(self, time_code=other.time_code) == other

    def check_taps(self, taps: Sequence[str]) -> None:
        if len(self.blocks) not in (0, 1, len(taps)):
            raise ValueError(
                f"blocks={_listed(self.blocks)}: there are {len(taps)} taps ({', '.join(taps)}); give one number for "
                f"each, or one for all"
            )

    def build(self, channels: Mapping[str, int]) -> dict[str, TemporalHead]:
        counts = self.blocks or [2 if tap in _COARSE else 1 for tap in channels]
        if len(counts) == 1:
            counts = [counts[0]] * len(channels)
        return {
            tap: MambaHead(number, self, blocks) for (tap, number), blocks in zip(channels.items(), counts, strict=True)
        }


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


class FeedForward(nn.Module):
    """Linear → SiLU → Linear on every token alone, behind an RMS norm and beside a path that goes around it.

    `down` starts at zero, so an untrained one passes its tokens through unchanged.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.ones(width))
        self.up = nn.Linear(width, factor * width)
        self.down = nn.Linear(factor * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [..., width] → the same shape."""
        return x + self.down(F.silu(self.up(rms_norm(x, self.norm, dim=-1))))

    def step(self, x: Tensor) -> Tensor:
        """The same, channels first: [B, width, tokens]."""
        inner = _linear(self.up, rms_norm(x, self.norm[:, None], dim=1))
        return x + _linear(self.down, F.silu(inner))


class MambaHead(TemporalHead):
    """`blocks` Mamba-2 mixers over time for every place of the map, in a narrower width, added to the map.

    A depthwise 3 × 3 convolution lets a token know its neighbours before it is cut off from them. `proj_out` starts at
    zero, so an untrained head passes its map through unchanged (as FlashDepth does).
    """

    def __init__(self, channels: int, settings: MambaSettings, blocks: int) -> None:
        super().__init__()
        width = settings.temporal_width
        sizes = settings.head_dim, settings.d_state, settings.expand
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.Parameter(torch.ones(channels))
        self.proj_in = nn.Linear(channels, width)
        self.block_norms = nn.ParameterList(torch.ones(width) for _ in range(blocks))
        self.blocks = nn.ModuleList(Mamba2(width, *sizes) for _ in range(blocks))
        fed = blocks if settings.feed_forward else 0
        self.feed_forwards = nn.ModuleList(FeedForward(width, settings.feed_forward) for _ in range(fed))
        self.proj_out = nn.Linear(width, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        self.time_code: Tensor
        # Zeros rather than no table: the graph, and what carries the counter, are the same for both.
        code = time_code(width) if settings.time_code else torch.zeros(CYCLE, width)
        self.register_buffer("time_code", code, persistent=False)

    def _mixers(self) -> Iterator[tuple[int, Tensor, Mamba2]]:
        """Number, weight of the norm before it, and mixer of every block."""
        for index, (norm, block) in enumerate(zip(self.block_norms, self.blocks, strict=True)):
            assert isinstance(block, Mamba2)
            yield index, norm, block

    def _feed_forward(self, index: int) -> FeedForward | None:
        """What follows the mixer of a block."""
        if not self.feed_forwards:
            return None
        part = self.feed_forwards[index]
        assert isinstance(part, FeedForward)
        return part

    def state_shapes(self, batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        return {
            f"{index}.{name}": shape
            for index, _, block in self._mixers()
            for name, shape in block.state_shapes(batch, rows * columns).items()
        }

    def clip(
        self, x: Tensor, states: StateTensors, counter: Tensor, watch: StateWatch | None = None
    ) -> tuple[Tensor, StateTensors]:
        _, length, _, rows, columns = x.shape

        def watcher(name: str) -> Callable[[Tensor], None] | None:
            if watch is None:
                return None
            # [B·h·w, N, heads, head_dim] → [B, N, C, h, w]
            return lambda state: watch(name, to_maps(state.flatten(2), rows, columns))

        tokens = to_sequences(x + self.mix(x.flatten(0, 1)).view_as(x))
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
            feed_forward = self._feed_forward(index)
            if feed_forward is not None:
                tokens = feed_forward(tokens)
        return x + to_maps(self.proj_out(tokens), rows, columns), new_states

    def step(self, x: Tensor, states: StateTensors, counter: Tensor) -> tuple[Tensor, StateTensors]:
        # Channels first throughout: the map's own layout and the states', so nothing is transposed per frame.
        tokens = (x + self.mix(x)).flatten(2)
        tokens = _linear(self.proj_in, rms_norm(tokens, self.norm[:, None], dim=1))
        tokens = tokens + self.time_code[counter.long()][:, :, None]
        new_states = {}
        for index, norm, block in self._mixers():
            ssm, conv = f"{index}.ssm", f"{index}.conv"
            y, new_states[ssm], new_states[conv] = block.step(
                rms_norm(tokens, norm[:, None], dim=1), states[ssm], states[conv]
            )
            tokens = tokens + y
            feed_forward = self._feed_forward(index)
            if feed_forward is not None:
                tokens = feed_forward.step(tokens)
        return x + _linear(self.proj_out, tokens).view_as(x), new_states


def _linear(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on channels first: [B, in, tokens] → [B, out, tokens]."""
    return linear.weight @ x + linear.bias[:, None]


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
