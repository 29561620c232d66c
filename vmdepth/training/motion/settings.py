"""Every setting of `vmdepth-train-motion`, its default in sight. Imports nothing heavy: the command's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MotionTrainSettings:
    """What a motion head learns from, and how.

    Attributes:
        network: checkpoint of vmdepth-train that gets the head; all else in it stays as it is.
        out: checkpoint to write.
        clips: rendered ones to learn from. What is seen of them stays in memory: of `edge` 2.5 MB each.
        clip_length: frames of each.
        size: HxW of the clips, pixels; None is the network's usual one.
        textures: folder of photographs, which half of the clips have on their surfaces.
        tap, width, gap: of the head, see `MotionSettings`.
        steps: updates of its weights.
        batch: clips in each, of which `frames` random frames count.
        frames: of a clip in a step.
        learning_rate: at its highest, after a twentieth of the steps; half a cosine takes it to zero at the last.
        weight_decay: as in AdamW.
        seed: of weights and clips.
    """

    network: Path
    out: Path
    clips: int = 600
    clip_length: int = 16
    size: str | None = None
    textures: Path | None = None
    tap: str = "path_3"
    width: int = 32
    gap: int = 4
    steps: int = 1000
    batch: int = 8
    frames: int = 3
    learning_rate: float = 3e-3
    weight_decay: float = 0.03
    seed: int = 0
