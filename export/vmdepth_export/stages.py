"""What long work says of itself on stderr: the stage that it is in, how long that has taken, and what is left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_EVERY = 3.0  # seconds between two lines of one stage, where there is no terminal


class Moved(Protocol):
    """Told how far a stage is."""

    def __call__(self, done: int, total: int, part: str = "") -> None:
        """So much is done of so much. part: what is done of the next piece, in words."""


class Stages:
    """A line of progress for every stage of some work; where there is no terminal, also one when it begins.

    Args:
        command: begins every line; None says nothing at all.
    """

    def __init__(self, command: str | None = None) -> None:
        self._command = command
        self._file = sys.stderr  # whoever takes stderr away meanwhile does not mean these lines

    @contextmanager
    def stage(self, doing: str) -> Iterator[Moved]:
        """One stage of the work. doing: what it does, as "traces the network".

        Yields what may be told how far it is; a stage that nobody knows that of shows how long it has taken.
        """
        if self._command is None:
            yield keep_quiet
            return
        from rich.console import Console  # which `--help` need not wait for

        from vmdepth_runtime.progress import ProgressLine

        line = ProgressLine(doing, prefix=f"{self._command}: ", every=_EVERY, console=Console(file=self._file))

        def moved(done: int, total: int, part: str = "") -> None:
            line.update(done, (part,) if part else (), total)

        if not line.drawn:
            line.say(doing)
        with line:
            yield moved


def keep_quiet(done: int, total: int, part: str = "") -> None:
    """A `Moved` that nobody hears."""


SILENT = Stages()
"""For work that nobody watches."""
