"""Pictures on their way from the thread that listens to the one that steps: who takes one gets the newest."""

from __future__ import annotations

from threading import Condition
from typing import Any, NamedTuple

from vmdepth_runtime.encoding.ros_messages import stamp_of


class Arrival(NamedTuple):
    """A picture that came.

    Attributes:
        message: of ROS.
        jump: why it does not go on from the pictures before it, all that came since one was taken; empty where it does.
    """

    message: Any
    jump: str


class Arrivals:
    """Holds the newest picture until it is taken, and tells where time jumps between pictures as they come: how long
    the network takes for one has no part in that.

    Args:
        max_gap: seconds between the stamps of two pictures above which the second does not continue the first.

    Attributes:
        dropped: how many gave way to a newer one before anybody took them.
    """

    def __init__(self, max_gap: float) -> None:
        self.dropped = 0
        self._max_gap = max_gap
        self._stamp: int | None = None
        self._held: Arrival | None = None
        self._closed = False
        self._changed = Condition()

    def put(self, message: Any) -> None:
        """Offer a newer picture; never waits."""
        with self._changed:
            jump = self._jump_to(stamp_of(message.header))
            if self._held is not None:
                self.dropped += 1
                jump = jump or self._held.jump
            self._held = Arrival(message, jump)
            self._changed.notify()

    def take(self) -> Arrival | None:
        """The newest, as soon as there is one; None once nothing will come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._closed)
            taken, self._held = self._held, None
            return None if self._closed else taken

    def close(self) -> None:
        """Nothing will come any more, and what is there is not worth the time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _jump_to(self, stamp: int) -> str:
        gap = 0.0 if self._stamp is None else (stamp - self._stamp) / 1e9
        self._stamp = stamp
        if gap < 0:
            return f"time went back by {-gap:.3g} s"
        return f"nothing came for {gap:.3g} s" if gap > self._max_gap else ""
