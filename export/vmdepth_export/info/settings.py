"""What `vmdepth-info` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InfoSettings:
    """Settings of one description. model: a checkpoint, a step graph, an engine, or the folder of a run of
    vmdepth-train; None is this machine. models: the official ones that can be had by name, instead."""

    model: Path | None = None
    models: bool = False
