"""A place for one thing between two threads: who takes it gets the newest."""

from __future__ import annotations

from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Holds the newest of what is put there, until it is taken.

    Attributes:
        dropped: how many gave way to a newer one before anybody took them.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._held: list[T] = []
        self._closed = False
        self._changed = Condition()

    def put(self, item: T) -> None:
        """Offer a newer one; never waits."""
        with self._changed:
            self.dropped += len(self._held)
            self._held = [item]
            self._changed.notify()

    def take(self) -> T | None:
        """The newest, as soon as there is one; None once nothing will come any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._closed)
            return None if self._closed else self._held.pop()

    def close(self) -> None:
        """Nothing will come any more, and what is there is not worth the time."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
