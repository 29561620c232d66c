"""What a run counted and measured, and how it is told."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_EVERY = 200  # frames between two looks at the resident memory
_STAGES = ("decode", "resize", "step", "colour", "encode")


class RunStatistics:
    """Counts of one run. Latency: from a frame in memory to its depth at the source's size; step: the network alone."""

    def __init__(self) -> None:
        self.frames_out = 0
        self.seconds = 0.0  # of the loop, finishing the outputs included
        self.stage_seconds = dict.fromkeys(_STAGES, 0.0)
        self._latency_ms = array("d")
        self._step_ms = array("d")
        self._memory: list[dict[str, float]] = []

    def add_frame(self, *, decode: float, latency: float, step: float, colour: float, encode: float) -> None:
        """All in seconds; latency is resize and step together."""
        for stage, seconds in zip(_STAGES, (decode, latency - step, step, colour, encode), strict=True):
            self.stage_seconds[stage] += seconds
        self._latency_ms.append(latency * 1e3)
        self._step_ms.append(step * 1e3)
        self.frames_out += 1
        if self.frames_out % MEMORY_EVERY == 0:
            resident = _resident_mib()
            if resident is not None:
                self._memory.append({"frame": self.frames_out, "mib": round(resident, 2)})

    @property
    def fps(self) -> float:
        return self.frames_out / self.seconds if self.seconds > 0 else 0.0

    def latency(self, percentile: float, last: int = 0) -> float:
        """Milliseconds. last: over so many frames only, 0 for all."""
        return _percentile(self._latency_ms[-last:], percentile)

    def as_dict(self) -> dict[str, Any]:
        total = sum(self.stage_seconds.values())
        figures: dict[str, Any] = {
            "frames_out": self.frames_out,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "latency_ms": _spread(self._latency_ms),
            "step_ms": _spread(self._step_ms),
            "stage_seconds": {stage: round(s, 3) for stage, s in self.stage_seconds.items()},
            "stage_shares": {stage: round(s / total, 4) if total else 0.0 for stage, s in self.stage_seconds.items()},
        }
        if self._memory:
            figures["resident_memory"] = self._memory
        return figures


def _spread(values: array[float]) -> dict[str, float]:
    return {"p50": round(_percentile(values, 50), 3), "p99": round(_percentile(values, 99), 3)}


def _percentile(values: array[float], percentile: float) -> float:
    return float(np.percentile(values, percentile)) if values else 0.0


def _resident_mib() -> float | None:
    """What /proc says this process holds in memory; None where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
