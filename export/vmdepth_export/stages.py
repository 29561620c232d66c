"""What long work says of itself on stderr: the stage that it is in, how long that has taken, and what is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

_PULSE = 3.0  # seconds between two lines of one stage, where there is no terminal

Moved = Callable[[int, int], None]
"""Told how much of a stage is done, and of how much."""


class Stages:
    """A bar on a terminal, which is gone when the stage is over; elsewhere a line now and every few seconds.

    Args:
        command: begins every line; None says nothing at all.
    """

    def __init__(self, command: str | None = None) -> None:
        self._command = command
        self._file = sys.stderr  # whoever takes stderr away meanwhile does not mean these lines
        console = Console(file=self._file)
        self._terminal = console.is_terminal
        whole = partial(Column, no_wrap=True)  # the text gives way, not the times
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
            BarColumn(bar_width=12, table_column=whole()),
            TimeElapsedColumn(table_column=whole()),
            TimeRemainingColumn(compact=True, table_column=whole()),
        )
        self.bars = Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=command is None or not self._terminal,
        )

    @contextmanager
    def stage(self, doing: str, counted: str = "") -> Iterator[Moved]:
        """One stage of the work.

        Args:
            doing: what it does, as "traces the network".
            counted: what it may be told the number of, as "frame".

        Yields what may be told how far it is; a stage that nobody knows that of shows how long it has taken.
        """
        shown = self._lines if self._command is not None and not self._terminal else self._bar
        with shown(doing, counted) as moved:
            yield moved

    @contextmanager
    def _bar(self, doing: str, counted: str) -> Iterator[Moved]:
        task = self.bars.add_task(doing, total=None)

        def moved(done: int, total: int) -> None:
            self.bars.update(task, completed=done, total=total, description=f"{doing}, {counted} {done} of {total}")

        self.bars.start()
        try:
            yield moved
        finally:
            self.bars.stop()
            self.bars.remove_task(task)

    @contextmanager
    def _lines(self, doing: str, counted: str) -> Iterator[Moved]:
        begun, over = perf_counter(), Event()
        state = [0, 0]

        def moved(done: int, total: int) -> None:
            state[:] = done, total

        def pulse() -> None:
            while not over.wait(_PULSE):
                took, (done, total) = perf_counter() - begun, state
                left = f", {counted} {done} of {total}, {took / done * (total - done):.0f} s left" if done else ""
                self._say(f"{doing}{left or f', {took:.0f} s so far'}")

        self._say(doing)
        thread = Thread(target=pulse, daemon=True)
        thread.start()
        try:
            yield moved
        finally:
            over.set()
            thread.join()

    def _say(self, line: str) -> None:
        print(f"{self._command}: {line}", file=self._file, flush=True)


SILENT = Stages()
"""For work that nobody watches."""
