"""Ctrl-C that lets the current frame finish, so that what was done can be finalised."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class Interruptible:
    """While this context is open, Ctrl-C sets `pressed` instead of raising.

    Only `next_of` breaks off at once: waiting for a frame that may never come is the one place where nothing is lost.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._waiting = False

    def next_of(self, items: Iterator[T]) -> T | None:
        """The next item; None at the end or once Ctrl-C was pressed."""
        if self.pressed:
            return None
        try:
            self._waiting = True
            return next(items, None)
        except KeyboardInterrupt:
            return None
        finally:
            self._waiting = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        if self._waiting:
            raise KeyboardInterrupt

    def __enter__(self) -> Interruptible:
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
