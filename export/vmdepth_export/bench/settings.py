"""What `vmdepth-bench` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BenchSettings:
    """Settings of one measurement. Its defaults are those of the command.

    Attributes:
        model: A checkpoint, or a step graph or an engine for one stream; or the name of one on Hugging Face.
        size: Of a checkpoint, height and width in pixels; None is the network's usual size.
        frames: Steps that are timed in each session.
        against: Other step graphs or engines, timed in turns with it.
        report: Where all figures go, as JSON.
        device: What step graphs, engines and the whole run are on, as `Device.named` reads it; None is the CPU for the
            step of a graph, the first GPU where it can for all else.
        causal: Form of a checkpoint's attention over time: the past alone, or its own; the whole clip has no step.
    """

    model: Path
    size: tuple[int, int] | None = None
    frames: int = 100
    against: tuple[Path, ...] = ()
    report: Path | None = None
    device: str | None = None
    causal: bool | None = None
