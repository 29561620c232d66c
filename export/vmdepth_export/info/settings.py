"""What `vmdepth-info` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InfoSettings:
    """Settings of one description. model: a checkpoint, a step graph or an engine; None is this machine."""

    model: Path | None = None
