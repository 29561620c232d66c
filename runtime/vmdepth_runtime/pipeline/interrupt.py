"""Ctrl-C, and SIGTERM, that let the current frame finish, so that what was done can be finalised."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruptible:
    """While this context is open, Ctrl-C and SIGTERM set `pressed` instead of raising.

    Only `wait_for` breaks off at once: a frame that may never come is the one thing that loses nothing. Who presses
    again does not want to wait: that raises KeyboardInterrupt wherever it comes.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._waiting = False

    def wait_for(self, take: Callable[[], T]) -> T | None:
        """What `take` gives; None once an interrupt came."""
        try:
            self._waiting = True
            return None if self.pressed else take()
        except KeyboardInterrupt:
            return None
        finally:
            self._waiting = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self.pressed = self.pressed, True
        if self._waiting or again:
            raise KeyboardInterrupt

    def __enter__(self) -> Interruptible:
        self._before = [signal.signal(number, self._on_signal) for number in _SIGNALS]
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, before)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """While this context is open, the first SIGTERM raises KeyboardInterrupt, too; `timeout` sends two at once."""
    came = False

    def once(number: int, frame: FrameType | None) -> None:
        nonlocal came
        again, came = came, True
        if not again:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
