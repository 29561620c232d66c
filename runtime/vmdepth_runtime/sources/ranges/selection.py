"""Which frames of a source are taken, by their places in it."""

from __future__ import annotations

import math

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.settings import ReadSettings, start_of

TIME_SLACK = 5e-4  # seconds: a time is given in milliseconds at the finest


class Selection:
    """The places of a source that are taken: from a first one on, one of every so many, up to a last one.

    Args:
        read: what was asked for.

    Attributes:
        first: the first place; None as long as only its time is known.
        seconds: that time, after the first frame of the source; None where the place was given.
        every: one of so many is taken.
        frames: how many are taken at most; None: no limit.
    """

    def __init__(self, read: ReadSettings) -> None:
        place, self.seconds = start_of(read.start)
        self.first: int | None = place if self.seconds is None or self.seconds == 0 else None
        self.every, self.frames = read.every, read.frames
        self._asked = read.start

    @property
    def from_the_start(self) -> bool:
        """Whether the first frame of the source is taken."""
        return self.first == 0

    @property
    def last(self) -> int | None:
        """The last place that may be taken; None where there is no limit, or only the time of the first is known."""
        if self.first is None or self.frames is None:
            return None
        return self.first + (self.frames - 1) * self.every

    def starts_at(self, fps: float) -> None:
        """Settle the first place where all frames are equally long."""
        if self.first is None:
            self.first = max(0, math.ceil(((self.seconds or 0.0) - TIME_SLACK) * fps))

    def takes(self, index: int, time: float) -> bool:
        """Whether a frame is taken; the first one late enough settles the first place. Frames are asked for in order.

        index: its place. time: seconds after the first frame of the source.
        """
        if self.first is None:
            assert self.seconds is not None
            if time < self.seconds - TIME_SLACK:
                return False
            self.first = index
        last = self.last
        return index >= self.first and (index - self.first) % self.every == 0 and (last is None or index <= last)

    def is_over(self, index: int) -> bool:
        """Whether no frame from this place on is taken."""
        return self.last is not None and index > self.last

    def places(self, total: int) -> range:
        """Those that are taken of so many; the first one is settled."""
        assert self.first is not None
        stop = total if self.last is None else min(total, self.last + 1)
        return range(self.first, stop, self.every)

    def count(self, total: int | None) -> int | None:
        """How many frames are taken of a source that promises so many; None where it does not say."""
        if total is None:
            return 1 if self.frames == 1 else None
        return len(self.places(total))

    def beyond(self, name: str, frames: int, seconds: float) -> InputError:
        """What is to be said of a source that is shorter: its name, and how long it is."""
        return InputError(
            f"{name}: has {frames} frame{'s' * (frames != 1)}, {seconds:.1f} s; --start {self._asked} is beyond its end"
        )
