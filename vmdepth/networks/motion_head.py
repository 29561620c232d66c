"""The motion head: what moves by itself, learnt from maps of the decoder and from how they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.decoder import TAPS
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.heads.precision import full, in_dtype
from vmdepth_runtime.contract import DYNAMIC_STATES

FEATURES, STARTED = f"{DYNAMIC_STATES}features", f"{DYNAMIC_STATES}started"


@dataclass(frozen=True)
class MotionSettings:
    """A motion head. Raises ValueError, naming the field, for a value that cannot be.

    Attributes:
        taps: Maps of the decoder that it sees, as the temporal heads leave them; all are brought to the size of the
            first.
        width: Channels between its two convolutions.
        forgetting: What is left of a remembered map with every frame, 0..1, without 1: at 0 change is against the frame
            before, at 0.8 against some five frames.
        radius: Places around its own at which a map is compared with the remembered one; 0 is its own alone.
    """

    taps: tuple[str, ...] = ("path_3", "layer_1")
    width: int = 64
    forgetting: float = 0.8
    radius: int = 2

    def __post_init__(self) -> None:
        unknown = [tap for tap in self.taps if tap not in TAPS]
        if unknown or not self.taps:
            raise ValueError(f"taps of the motion head '{','.join(self.taps)}': there are {', '.join(TAPS)}")
        if self.width < 1:
            raise ValueError(f"width={self.width}: must be above 0")
        if not 0 <= self.forgetting < 1:
            raise ValueError(f"forgetting={self.forgetting}: must be at least 0 and below 1")
        if self.radius < 0:
            raise ValueError(f"radius={self.radius}: must not be negative")


class MotionHead(nn.Module):
    """Two 3×3 convolutions on maps, on their change, and on how alike they and the remembered maps are around a place.

    What is remembered is an average of the maps that fades with every frame; with the first frame it is that frame, so
    nothing has changed yet, and nothing is told of it. What the whole picture shows on average, of maps and of change,
    is known everywhere: where the camera moves all places change, and only what changes otherwise moves by itself.

    States: `dynamic.features` [B, C, h, w], the average; `dynamic.started` [B], 0 before the first frame, then 1.
    """

    def __init__(self, channels: Mapping[str, int], settings: MotionSettings) -> None:
        """channels: of the maps at the taps."""
        super().__init__()
        self.settings = settings
        self.channels = sum(channels[tap] for tap in settings.taps)
        seen = 2 * self.channels + (2 * settings.radius + 1) ** 2
        self.conv1 = nn.Conv2d(seen, settings.width, 3, padding=1)
        self.scene = nn.Conv2d(seen, settings.width, 1, bias=False)
        self.conv2 = nn.Conv2d(settings.width, 1, 3, padding=1)
        nn.init.constant_(self.conv2.bias, -2.0)  # type: ignore[arg-type]  # most things stand still
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(self.channels, 1, 1))
        self.register_buffer("scale", torch.ones(self.channels, 1, 1))

    def state_shapes(self, batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        """State name → shape; rows, columns: of the map at the first tap."""
        return {FEATURES: (batch, self.channels, rows, columns), STARTED: (batch,)}

    def forward(self, maps: Mapping[str, Tensor], states: StateTensors) -> tuple[Tensor, StateTensors]:
        """How much every place moves.

        Args:
            maps: at the taps, [B, N, C, h, w].
            states: before the first of the N frames; others are not looked at.

        Returns:
            Logits [B, N, h, w] at the size of the first tap's map; and the states after the last frame.
        """
        now = full(self.normalised(self.together([maps[tap] for tap in self.settings.taps])))
        before, after = self.remembered(now, states)
        return self.told(now.flatten(0, 1), before.flatten(0, 1)).unflatten(0, now.shape[:2]), after

    @staticmethod
    def tells(states: StateTensors, count: int) -> Tensor:
        """[B, count]: 1 for the frames that something came before, of as many from `states` on; 0 for a first frame."""
        started = states[STARTED][:, None]
        return torch.cat([started, torch.ones_like(started).expand(-1, count - 1)], dim=1) if count > 1 else started

    @staticmethod
    def together(maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, N, C, h, w] of any sizes → one [B, N, C, h, w] of the first one's."""
        size = maps[0].shape[-2:]
        same = [
            F.interpolate(one.flatten(0, 1), size, mode="bilinear", align_corners=True).unflatten(0, one.shape[:2])
            for one in maps[1:]
        ]
        return torch.cat([maps[0], *same], dim=2)

    def normalised(self, maps: Tensor) -> Tensor:
        """Of a like spread in every channel, as far as the training clips tell."""
        return (maps - self.mean) * self.scale

    def remembered(self, now: Tensor, states: StateTensors) -> tuple[Tensor, StateTensors]:
        """What is remembered at every frame of what came before it, like `now` [B, N, C, h, w]; and the states then."""
        average, started = states[FEATURES], states[STARTED][:, None, None, None]
        before = []
        for frame in now.unbind(dim=1):
            average = started * average + (1 - started) * frame
            before.append(average)
            average = self.settings.forgetting * average + (1 - self.settings.forgetting) * frame
            started = torch.ones_like(started)
        return torch.stack(before, dim=1), {FEATURES: average, STARTED: started.flatten()}

    def told(self, now: Tensor, before: Tensor) -> Tensor:
        """Logits [n, h, w] of frames [n, C, h, w], as `normalised` gives them, and what was remembered at each."""
        seen = torch.cat([now, now - before, alike(now, before, self.settings.radius)], dim=1)
        seen = in_dtype(seen, self.conv1.weight.dtype)
        inner = self.conv1(seen) + self.scene(seen.mean(dim=(2, 3), keepdim=True))
        return self.conv2(F.relu(inner))[:, 0]


def alike(now: Tensor, before: Tensor, radius: int) -> Tensor:
    """Cosines of a map's places with those around them in another, [n, C, h, w] both → [n, (2 · radius + 1)², h, w].

    Channel dy · (2 · radius + 1) + dx is of the place that many rows and columns on from the upper left of those
    around; beyond the edge it is 0.
    """
    rows, columns = now.shape[-2:]
    now, before = _unit(now), F.pad(_unit(before), (radius,) * 4)
    places = range(2 * radius + 1)
    return torch.stack(
        [(now * before[..., y : y + rows, x : x + columns]).sum(dim=1) for y in places for x in places], dim=1
    )


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).sum(dim=1, keepdim=True) + 1e-6)


def at_frame_size(logits: Tensor, tells: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits [n, h, w], and for which of the frames they count, [n], as `MotionHead.tells` → `dynamic` [n, *size],
    0..1; 0 for the others."""
    soft = F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)[:, 0].sigmoid()
    return soft * tells[:, None, None]
