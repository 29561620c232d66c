"""Which measurement of depth belongs to a frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

APART = 50_000_000
"""Nanoseconds at most between a frame and a measurement of the same."""

_PATIENCE = 2_000_000_000  # nanoseconds that frames may go on before measurements that began anew are let by
_AHEAD = 30  # measurements after the last frame of a round that are looked at for where the next round begins

Measurement = tuple[int, NDArray[np.float32]]


class Nearest:
    """Finds the measurement next to each frame in time, of two streams that are read once.

    A measurement belongs to one frame, and is half the time between two frames away from it at most, and `APART`. Where
    stamps of frames go back, as in a recording that was played and recorded twice, so do those of the measurements.

    Args:
        measured: stamps, nanoseconds since 1970, and depth. In order, taken as they are needed.
    """

    def __init__(self, measured: Iterator[Measurement]) -> None:
        self._measured = measured
        self._ahead: deque[Measurement] = deque()  # read, and later than the one that is nearest
        self._nearest: int | None = None  # its stamp
        self._depth: NDArray[np.float32] | None = None  # its depth, until a frame has taken it
        self._before: int | None = None

    def at(self, stamp: int) -> NDArray[np.float32] | None:
        """What was measured of a frame; None where nothing was. stamp: of the frame, nanoseconds since 1970."""
        near = APART
        if self._before is not None and stamp > self._before:
            near = min(APART, (stamp - self._before + 1) // 2)
        if self._before is not None and stamp < self._before - APART:
            self._begin_round()
        self._before = stamp
        self._advance(stamp)
        if self._nearest is None or abs(self._nearest - stamp) > near:
            return None
        taken, self._depth = self._depth, None
        return taken

    def _advance(self, stamp: int) -> None:
        """Go on while the following one is nearer."""
        while self._read(1):
            following, nearest = self._ahead[0][0], self._nearest
            if nearest is not None and following < nearest - APART and stamp < nearest + _PATIENCE:
                return  # of a round whose frames are still to come
            if nearest is None or abs(following - stamp) < abs(nearest - stamp):
                self._nearest, self._depth = self._ahead.popleft()
            elif following > nearest:
                return  # of a later frame
            else:
                self._ahead.popleft()

    def _begin_round(self) -> None:
        """Leave out what was measured after the last frame of a round, up to where measurements go back, too."""
        last = self._nearest
        self._read(_AHEAD)
        for count, (stamp, _) in enumerate(self._ahead):
            if last is not None and stamp < last - APART:
                self._ahead = deque(islice(self._ahead, count, None))
                self._nearest = self._depth = None
                return
            last = stamp

    def _read(self, count: int) -> bool:
        """Have so many of the following ones ready, as far as there are any."""
        self._ahead.extend(islice(self._measured, max(0, count - len(self._ahead))))
        return bool(self._ahead)
