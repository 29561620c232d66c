"""Every setting of `vmdepth-precompute`, its default in sight. Imports nothing heavy: the command's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PrecomputeSettings:
    """data: a video, a folder of videos or of frames. teacher: the checkpoint that gives their depth. out: the folder
    that takes it. side: pixels of the shorter side that the teacher sees. device: "auto" takes a GPU where there is
    one."""

    data: Path
    teacher: Path
    out: Path
    side: int = 280
    device: str = "auto"
