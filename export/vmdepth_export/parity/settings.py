"""What `vmdepth-parity` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARITY_FRAMES = 200
"""How many frames prove a graph or an engine before it is kept, where time allows."""


@dataclass(frozen=True)
class ParitySettings:
    """Settings of one comparison. Its defaults are those of the command.

    Attributes:
        reference: What is right: a checkpoint, a step graph or an engine.
        candidate: What should do the same: likewise.
        source: Video, image folder or recording of a robot that both run over; None is the bundled clip.
        topic: The pictures of a recording that has several topics of them.
        frames: At most so many.
        report: Where all figures go, as JSON.
        picture: Where the error over frames is drawn, as PNG.
        causal: Form of attention over time of checkpoints: the past alone, or their own; the whole clip has no step.
        device: What a candidate that is a step graph or an engine runs on, as `Device.named` reads it. None is the CPU
            for a graph, one in half precision with every result rounded; the first GPU for an engine.
        bisect: Whether to name the first tensor that differs, if they disagree.
    """

    reference: Path
    candidate: Path
    source: str | None = None
    topic: str | None = None
    frames: int = PARITY_FRAMES
    report: Path | None = None
    picture: Path | None = None
    causal: bool | None = None
    device: str | None = None
    bisect: bool = False
