"""The motion head: what moves by itself, learnt from what is left of a picture's motion beside the camera's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.decoder import TAPS
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.heads.precision import full, in_dtype
from vmdepth.networks.motion.camera_motion import bases, blurred, camera, halved, left, pyramid, resized
from vmdepth_runtime.contract import DYNAMIC_STATES

FRAMES, STARTED = f"{DYNAMIC_STATES}frames", f"{DYNAMIC_STATES}started"

_BRIGHTEST = 4.0
_FACTORS = 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 20.0, 20.0, 4.0, 4.0, 1.0  # that bring `Seen.geometry` to the like of 1
_SLOW = 0.3  # pixels of parallax per unit of depth below which it has no direction


@dataclass(frozen=True)
class MotionSettings:
    """A motion head. Raises ValueError, naming the field, for a value that cannot be.

    Attributes:
        tap: Map of the decoder that it sees, as the temporal heads leave it.
        width: Channels between its two convolutions.
        gap: Frames back to the one that the camera's motion is fitted against.
    """

    tap: str = "path_3"
    width: int = 32
    gap: int = 4

    def __post_init__(self) -> None:
        if self.tap not in TAPS:
            raise ValueError(f"tap '{self.tap}' of the motion head: there are {', '.join(TAPS)}")
        for name in ("width", "gap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")


class Seen(NamedTuple):
    """What the head looks at, of frames [n]. geometry: [n, 11, h, w]; appearance: the map at the tap, [n, C, …]."""

    geometry: Tensor
    appearance: Tensor

    def mirrored(self) -> Seen:
        """As of frames whose left is their right: flow across goes the other way then."""
        geometry = self.geometry.flip(-1)
        return Seen(torch.cat([-geometry[:, :1], geometry[:, 1:]], dim=1), self.appearance.flip(-1))


class MotionHead(nn.Module):
    """Two 3×3 convolutions, at a quarter of the frame's size, on what is left of the picture's motion, depth and a map.

    Motion is that since the frame `gap` frames ago, or the first one, beside the camera's own (`camera_motion`); of a
    first frame nothing is told. What the whole picture shows on average is known everywhere.

    States: `dynamic.frames` [B, gap, H/2, W/2], the grey of the frames before, oldest first; `dynamic.started` [B], 0
    before the first frame, then 1.
    """

    def __init__(self, channels: int, settings: MotionSettings) -> None:
        """channels: of the map at the tap."""
        super().__init__()
        self.settings = settings
        seen = len(_FACTORS) + channels
        self.conv1 = nn.Conv2d(seen, settings.width, 3, padding=1)
        self.scene = nn.Conv2d(seen, settings.width, 1, bias=False)
        self.conv2 = nn.Conv2d(settings.width, 1, 3, padding=1)
        nn.init.constant_(self.conv2.bias, -2.0)  # type: ignore[arg-type]  # most things stand still
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(seen, 1, 1))
        self.register_buffer("scale", torch.ones(seen, 1, 1))

    def state_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """State name → shape for frames of height × width pixels."""
        return {FRAMES: (batch, self.settings.gap, -(-height // 2), -(-width // 2)), STARTED: (batch,)}

    def forward(
        self, frames: Tensor, depth: Tensor, appearance: Tensor, states: StateTensors
    ) -> tuple[Tensor, StateTensors]:
        """How much every pixel moves.

        Args:
            frames: [B, N, 3, H, W], 0..1.
            depth: theirs, relative and inverse, [B, N, 1, H, W].
            appearance: the map at the tap, [B, N, C, h, w].
            states: before the first of the N frames; others are not looked at.

        Returns:
            `dynamic` [B, N, H, W], 0..1, 0 in a video's first frame; and the states after the last frame.
        """
        batch, count, _, height, width = frames.shape
        seen, after = self.seen(frames, depth, appearance, states)
        logits = F.interpolate(self.told(seen)[:, None], (height, width), mode="bilinear", align_corners=False)
        started = states[STARTED][:, None]
        tells = torch.cat([started, torch.ones_like(started).expand(-1, count - 1)], dim=1) if count > 1 else started
        return logits.sigmoid().view(batch, count, height, width) * tells[:, :, None, None], after

    def seen(
        self, frames: Tensor, depth: Tensor, appearance: Tensor, states: StateTensors
    ) -> tuple[Seen, StateTensors]:
        """What the head looks at, of all frames of all clips in one row, and the states after them; as `forward`."""
        count, gap = frames.shape[1], self.settings.gap
        grey = blurred(halved(full(frames).mean(dim=2) * _BRIGHTEST))
        started = states[STARTED][:, None, None, None]
        before = started * states[FRAMES] + (1 - started) * grey[:, :1]
        row = torch.cat([before, grey], dim=1)
        geometry = _geometry(
            grey.flatten(0, 1)[:, None], row[:, :count].flatten(0, 1)[:, None], full(depth).flatten(0, 1)
        )
        return Seen(geometry, appearance.flatten(0, 1)), {
            FRAMES: row[:, -gap:],
            STARTED: torch.ones_like(states[STARTED]),
        }

    def together(self, seen: Seen) -> Tensor:
        """All that it looks at as one [n, C, h, w], of a like spread in every channel by the training clips."""
        whole = torch.cat([seen.geometry, resized(full(seen.appearance), seen.geometry)], dim=1)
        return (whole - self.mean) * self.scale

    def told(self, seen: Seen) -> Tensor:
        """Logits [n, h, w], at a quarter of the frame's size."""
        maps = in_dtype(self.together(seen), self.conv1.weight.dtype)
        inner = self.conv1(maps) + self.scene(maps.mean(dim=(2, 3), keepdim=True))
        return self.conv2(F.relu(inner))[:, 0]


def _geometry(now: Tensor, then: Tensor, depth: Tensor) -> Tensor:
    """Flow beside the camera's, along and across the way that depth moves things, and what is known of it; and depth.

    now, then: grey [n, 1, h, w], 0..4, a little blurred. depth: [n, 1, H, W]. Returns [n, 11, h/2, w/2].
    """
    depth = halved(depth)
    depth = depth / depth.mean(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    news, olds, basis = pyramid(now), pyramid(then), bases(depth)
    found = left(news, olds, basis, camera(news, olds, basis))
    swing = _length(found.parallax)
    way = found.parallax / (swing + _SLOW)
    along = (found.flow * way).sum(dim=1, keepdim=True)
    across = (found.flow[:, :1] * way[:, 1:] - found.flow[:, 1:] * way[:, :1]).abs()
    parts = [found.flow, _length(found.flow), along, across, swing * depth, depth]
    parts += [found.known, found.unexplained, found.unmoved, found.inside]
    maps = halved(torch.cat(parts, dim=1)) * torch.tensor(_FACTORS, device=now.device)[:, None, None]
    return maps.sign() * maps.abs().log1p()


def _length(vectors: Tensor) -> Tensor:
    """Of [n, 2, h, w]: [n, 1, h, w]."""
    return (vectors * vectors).sum(dim=1, keepdim=True).sqrt()
