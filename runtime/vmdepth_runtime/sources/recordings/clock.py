"""Times of frames from stamps, which may jump."""

from __future__ import annotations

FARTHEST = 3600.0
"""Seconds, beyond which a jump forward is of the clock that stamps, as where a board without one learns the time."""


class Clock:
    """Seconds after the first frame, rising, from the stamps of a camera.

    Args:
        max_gap: seconds after which a frame does not continue the one before.
        interval: what a frame lasts, in seconds; where a stamp goes back, or forward by more than `FARTHEST` and
            `max_gap`, its frame is put so much after the one before.
    """

    def __init__(self, max_gap: float, interval: float) -> None:
        self._max_gap, self._interval = max_gap, interval
        self._origin: int | None = None  # the stamp at time 0
        self._last = 0  # stamp

    def __call__(self, stamp: int) -> tuple[float, float]:
        """The time of the next frame, and by how many seconds it jumps: 0 where it continues, negative where it is
        before the last one. stamp: nanoseconds since 1970."""
        if self._origin is None:
            self._origin = self._last = stamp
        step, self._last = stamp - self._last, stamp
        if step < 0 or step > 1e9 * max(FARTHEST, self._max_gap):
            self._origin += step - round(self._interval * 1e9)
        jump = step / 1e9
        return (stamp - self._origin) / 1e9, jump if jump < 0 or jump > self._max_gap else 0.0
