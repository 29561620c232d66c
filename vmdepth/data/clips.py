"""What training sees: clips of frames with the depth to learn and where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from vmdepth.data.rendering.synthetic import RenderedClips

STILL = 0.5
"""Pixels that a point may move in the picture from a frame to the next and still count as standing still."""


@dataclass(frozen=True)
class TrainingClips:
    """B clips of N frames.

    rgb: [B, N, 3, H, W] float32, 0..1, as the student sees them. clean: the same before augmentation, for a teacher;
    None where nobody asks one. inverse_depth: [B, N, 1, H, W] float32, ≥ 0, larger is nearer; without meaning where
    `known` (bool, same shape) is False. metric: [B] bool, inverse depth is in 1/m. labelled: [B] bool, inverse depth is
    there at all; a teacher has to give it where it is not. still: [B, N, 1, H, W] bool, the pixel shows the same point
    in the next frame (the last frame of a clip has no next and is False); None where nobody asks.
    videos: where each clip is from, [B] names. frames: [B, N] int64, numbers of its frames there.
    """

    rgb: Tensor
    inverse_depth: Tensor
    known: Tensor
    metric: Tensor
    labelled: Tensor
    videos: tuple[str, ...]
    frames: Tensor
    clean: Tensor | None = None
    still: Tensor | None = None

    def to(self, device: torch.device) -> TrainingClips:
        """The same clips on a device."""
        return self._with({name: tensor.to(device) for name, tensor in self._tensors().items()})

    def piece(self, first: int, last: int) -> TrainingClips:
        """Frames first … last − 1 of every clip."""
        return self._with({name: tensor[:, first:last] for name, tensor in self._tensors().items() if tensor.ndim > 1})

    def split(self) -> list[TrainingClips]:
        """Every clip as a batch of one."""
        return [
            self._with({name: tensor[n : n + 1] for name, tensor in self._tensors().items()} | {"videos": (video,)})
            for n, video in enumerate(self.videos)
        ]

    def _with(self, values: dict[str, Any]) -> TrainingClips:
        return replace(self, **values)

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def collate(clips: Sequence[TrainingClips]) -> TrainingClips:
    """Several batches as one; all of one size."""

    def joined(name: str) -> Tensor | None:
        values = [getattr(clip, name) for clip in clips]
        return None if values[0] is None else torch.cat(values)

    names = [field.name for field in fields(TrainingClips) if field.name != "videos"]
    return TrainingClips(
        videos=tuple(video for clip in clips for video in clip.videos),
        **{name: joined(name) for name in names},  # type: ignore[arg-type]  # all are tensors where they must be
    )


def from_rendered(clips: RenderedClips, seeds: Sequence[int]) -> TrainingClips:
    """Rendered clips with their exact depth. Sky is known: infinitely far, 0."""
    count, frames = clips.depth.shape[:2]
    device = clips.depth.device
    still = clips.flow.norm(dim=2, keepdim=True) < STILL
    still[:, -1] = False
    return TrainingClips(
        rgb=clips.rgb,
        inverse_depth=1.0 / clips.depth,
        known=torch.ones_like(clips.depth, dtype=torch.bool),
        metric=torch.ones(count, dtype=torch.bool, device=device),
        labelled=torch.ones(count, dtype=torch.bool, device=device),
        videos=tuple(f"rendered {seed}" for seed in seeds),
        frames=torch.arange(frames, device=device).expand(count, -1),
        still=still,
    )
