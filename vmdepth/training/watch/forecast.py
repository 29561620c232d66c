"""What a run will take here, as its first steps tell."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path

import torch

_ENOUGH = 20.0  # seconds of steps that tell enough, however few they are
_STEPS = 10  # or so many: a GPU has been waited for by then


@dataclass(frozen=True)
class Forecast:
    """steps: that are left. steps_per_second: of the first ones. memory: bytes that were in use at most, of the GPU
    where there is one, else of this process and those that make its clips."""

    steps: int
    steps_per_second: float
    memory: int

    @property
    def seconds(self) -> float:
        """That the steps will take."""
        return self.steps / self.steps_per_second

    def __str__(self) -> str:
        """For people."""
        return (
            f"{self.steps} steps take {about(self.seconds)} here: {speed(self.steps_per_second)}, "
            f"{self.memory / 2**30:.1f} GiB of memory"
        )


class FirstSteps:
    """Times the first steps of a run, until they are enough. device: that the network is on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._count, self._seconds = 0, 0.0
        self._told = False

    def add(self, seconds: float, left: int) -> Forecast | None:
        """Another step took so long, and so many are left. Returns what to expect, once, when it is known and
        not over."""
        if self._told:
            return None
        self._count += 1
        self._seconds += seconds
        if self._count < _STEPS and self._seconds < _ENOUGH:
            return None
        self._told = True
        if left == 0:
            return None
        return Forecast(left, self._count / self._seconds, _memory(self._device))


def about(seconds: float) -> str:
    """ "about 7 days": a time in the largest unit that it has two of."""
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"about {seconds / unit:.0f} {name}"
    return f"about {seconds:.0f} seconds"


def speed(steps_per_second: float) -> str:
    """Steps per second, or seconds per step where these are more than one."""
    return f"{steps_per_second:.1f} steps/s" if steps_per_second >= 1 else f"{1 / steps_per_second:.1f} s/step"


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return sum(_peak(child.pid or 0) for child in active_children()) + _peak("self")
    except OSError:  # no /proc, or a process that has just ended
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak(process: int | str) -> int:
    """Bytes that a process had in memory at most."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
