"""What a run counts and measures of itself."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_EVERY = 200  # frames between two looks at the resident memory
_KEPT = 100_000  # latest times that percentiles are taken from, and looks at the memory: a run may last for weeks
_NAMED = 1000  # broken frames, and cuts, told one by one


@dataclass
class MovingShares:
    """Which share of the pixels moves by itself, over all frames of which the network says it: their count, the sum of
    the shares, the largest one and the latest."""

    frames: int = 0
    total: float = 0.0
    most: float = 0.0
    latest: float = 0.0

    def add(self, share: float) -> None:
        """Of the next frame."""
        self.frames += 1
        self.total += share
        self.most = max(self.most, share)
        self.latest = share

    def as_dict(self) -> dict[str, float] | None:
        """As the report has it; None of a network that does not say what moves."""
        if self.frames == 0:
            return None
        return {"mean": round(self.total / self.frames, 4), "most": round(self.most, 4)}


class RunStatistics:
    """Counts and times of one run.

    Latency is from a frame in memory (of a live source) or in hand (of a file) to its depth at the model's size; a step
    is the network alone, for all streams together.

    Args:
        streams: How many go through the network.

    Attributes:
        frames: Of each stream, how many came out.
        seconds: Of the run, finishing the outputs included; 0 until it is over.
        cpu_seconds: Likewise, that all threads of the process were on a core.
        step_seconds: In the network alone.
        anchor_seconds: In what goes on around it, mostly key frames.
        broken: Of each stream, the first frames for which the network gave what is not finite.
        cuts: Of each stream, the first frames with which a scene begins, but for the very first.
        cut_counts: Of each stream, how many there are.
        moving: Of each stream, how much of the frames moves by itself.
    """

    def __init__(self, streams: int = 1) -> None:
        self.frames = [0] * streams
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.step_seconds = 0.0
        self.anchor_seconds = 0.0
        self.broken: list[list[int]] = [[] for _ in range(streams)]
        self.cuts: list[list[int]] = [[] for _ in range(streams)]
        self.cut_counts = [0] * streams
        self.moving = [MovingShares() for _ in range(streams)]
        self._latency_ms = _Latest()
        self._step_ms = _Latest()
        self._memory: deque[dict[str, float]] = deque(maxlen=_KEPT)

    @property
    def frames_out(self) -> int:
        return sum(self.frames)

    def add_frame(self, stream: int, *, latency: float) -> None:
        """A frame of a stream is through. latency: seconds."""
        self.frames[stream] += 1
        self._latency_ms.add(latency * 1e3)
        if self.frames_out % MEMORY_EVERY == 0:
            resident = _resident_mib()
            if resident is not None:
                self._memory.append({"frame": self.frames_out, "mib": round(resident, 2)})

    def add_broken(self, stream: int, index: int) -> None:
        """The network gave what is not finite for a frame. index: its place in the source."""
        if len(self.broken[stream]) < _NAMED:
            self.broken[stream].append(index)

    def add_cut(self, stream: int, index: int) -> None:
        """A scene begins with a frame. index: its place in the source."""
        self.cut_counts[stream] += 1
        if len(self.cuts[stream]) < _NAMED:
            self.cuts[stream].append(index)

    def add_step(self, whole: float, step: float) -> None:
        """A step took so many seconds: whole, with what goes on around it, and step, the network alone."""
        self.step_seconds += step
        self.anchor_seconds += whole - step
        self._step_ms.add(step * 1e3)

    @property
    def fps(self) -> float:
        """Frames per second over the whole run, all streams together; 0 until it is over."""
        return self.frames_out / self.seconds if self.seconds > 0 else 0.0

    def latency(self, percentile: float, last: int) -> float:
        """Milliseconds, over the latest frames."""
        return self._latency_ms.percentile(percentile, last)

    def as_dict(self) -> dict[str, Any]:
        """As the report has it: times in ms, memory in MiB."""
        figures: dict[str, Any] = {
            "frames_out": self.frames_out,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "latency_ms": self._latency_ms.spread(),
            "step_ms": self._step_ms.spread(),
        }
        if self._memory:
            figures["resident_memory"] = list(self._memory)
        return figures


class _Latest:
    """The latest of any number of values, in memory that is taken once."""

    def __init__(self) -> None:
        self._values = np.zeros(_KEPT, np.float32)
        self._count = 0

    def add(self, value: float) -> None:
        self._values[self._count % _KEPT] = value
        self._count += 1

    def percentile(self, percentile: float, last: int = _KEPT) -> float:
        """Of so many latest values; 0 where there are none."""
        places = np.arange(max(0, self._count - min(last, _KEPT)), self._count) % _KEPT
        return float(np.percentile(self._values[places], percentile)) if len(places) else 0.0

    def spread(self) -> dict[str, float]:
        return {"p50": round(self.percentile(50), 3), "p99": round(self.percentile(99), 3)}


def _resident_mib() -> float | None:
    """What /proc says this process holds in memory; None where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
