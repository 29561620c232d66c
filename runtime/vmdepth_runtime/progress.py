"""How far a command is: one line that fits the terminal, and where there is none a line every few seconds."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from time import perf_counter
from typing import TypeAlias

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

EVERY = 5.0  # seconds between two lines where there is no terminal, unless told otherwise
_LATER, _EVERY_LATER = 600.0, 60.0  # after so many seconds a log gets a line a minute
_RECENT, _FEWEST = 10.0, 10  # seconds that the rate is taken over, or so many updates where these take longer
_NAME, _INITIALS = 12, 4  # cells that a name is shortened to, beside a bar and without one
_BAR, _LONGEST_BAR = 8, 40  # cells that a bar is shortened to, and that it grows to
_MATTERS = 3  # parts that stay for longer than the bar: count, rate, time left

Figures: TypeAlias = Sequence[str] | Callable[[], Sequence[str]]


class ProgressLine:
    """One line on stderr that says how far something is.

    On a terminal it is drawn anew a few times a second and gone at the end. Where the line is longer than the terminal
    is wide, first its name is shortened and its bar, then figures go, the last one first. Elsewhere, as in a log, a
    line comes every 5 seconds, from the tenth minute on every minute; what takes less than that stays quiet.

    ```python
    from vmdepth_runtime.progress import ProgressLine

    with ProgressLine("proving", total=200, unit="frames") as progress:
        for done in range(1, 201):
            progress.update(done, figures=(f"{progress.rate:.1f} fps",))
        progress.say("the graph agrees")
        progress.stage("writing")  # of which nobody knows how long it takes
    ```

    Args:
        name: of what goes on; of any length.
        total: how much there is to do; None where nobody knows.
        unit: of what is counted; "" where nothing is, and the line tells the time alone.
        prefix: begins every line that stays, as "vmdepth-run: " does.
        heading: what is said before anything is drawn or told; where there is no terminal, a short run says it not.
        every: seconds between two lines where there is no terminal.
        console: where the line goes; None is stderr.

    Attributes:
        done: how much is done.
        total: as given, or as told later.
    """

    def __init__(
        self,
        name: str,
        total: int | None = None,
        unit: str = "",
        *,
        prefix: str = "",
        heading: str = "",
        every: float = EVERY,
        console: Console | None = None,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._prefix, self._heading = prefix, heading
        self._every, self._begun = every, perf_counter()
        self._live: Live | None = None
        self._end = Event()
        self._teller = Thread(target=self._tell, name="progress", daemon=True)
        self.stage(name, total, unit)

    def __enter__(self) -> ProgressLine:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to show it."""
        if self.drawn:
            self._say_heading()
            # Else what is printed while stdout is a file would go to the terminal.
            both = sys.stdout.isatty()
            self._live = Live(_Drawing(self), console=self._console, transient=True, redirect_stdout=both)
            self._live.start(refresh=True)
        else:
            self._teller.start()

    @property
    def drawn(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.file.isatty() and not self._console.is_dumb_terminal

    def stage(self, name: str, total: int | None = None, unit: str = "", done: int = 0) -> None:
        """From here on the line is about something else. done: how much of it was done before; no part of the rate."""
        self._name, self.total, self._unit = name, total, unit
        self._figures: Figures = ()
        self._since = perf_counter()
        self._updates = deque([(self._since, done)])
        self.done = done

    def update(self, done: int, figures: Figures = (), total: int | None = None) -> None:
        """Say how far it is.

        Args:
            done: how much is done altogether.
            figures: what else is worth telling, the most important first; the first one stays longest. Where they take
                time to make, what makes them: it is called when they are shown, in another thread.
            total: where only now it is known how much there is to do.
        """
        now = perf_counter()
        if now - self._updates[-1][0] >= _RECENT / 100:  # a fast command would keep thousands
            self._updates.append((now, done))
        while len(self._updates) > _FEWEST and now - self._updates[0][0] > _RECENT:
            self._updates.popleft()
        self.done, self._figures = done, figures
        self.total = self.total if total is None else total

    def say(self, line: str) -> None:
        """Write a line that stays, now; from any thread."""
        self._console.print(f"{self._prefix}{line}", markup=False, highlight=False, emoji=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the line away."""
        self._end.set()
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._teller.is_alive():
            self._teller.join()

    @property
    def rate(self) -> float:
        """How much is done in a second, of late; it goes down while nothing comes."""
        begin, done = self._updates[0]
        return (self.done - done) / max(perf_counter() - begin, 1e-9)

    @property
    def parts(self) -> list[str]:
        """What the line says, the most important first: count, first figure, time left or gone, other figures."""
        counted = self._unit or self.total is not None
        count = (
            f"{self.done:>{len(str(self.total))}}/{self.total}"
            if self.total is not None
            else f"{self.done} {self._unit}"
        )
        rate = self.rate
        if self.total is None:
            time = f"{duration(perf_counter() - self._since)} so far"
        else:
            time = f"{duration((self.total - self.done) / rate)} left" if rate > 0 else ""
        figures = self._figures() if callable(self._figures) else self._figures
        return [part for part in (count if counted else "", *figures[:1], time, *figures[1:]) if part]

    def draw(self, width: int) -> Table:
        """The line, in at most so many cells."""
        name, bar, text = fit(self._name, self.parts, width)
        line = Table.grid(padding=(0, 1, 0, 0))
        cells: list[Text | ProgressBar] = [Text(name, no_wrap=True)] if name else []
        if bar:
            total = None if self.total is None else max(self.total, 1)
            cells.append(ProgressBar(total, self.done, width=bar, pulse=total is None))
        cells.append(Text(text, no_wrap=True))
        line.add_row(*cells)
        return line

    def _tell(self) -> None:
        while not self._end.wait(self._every if perf_counter() - self._begun < _LATER else _EVERY_LATER):
            self._say_heading()
            counted = f"{self.done} of {self.total} {self._unit}".rstrip()
            parts = self.parts if self.total is None else [counted, *self.parts[1:]]
            self.say(f"{self._name}: {', '.join(parts)}")

    def _say_heading(self) -> None:
        heading, self._heading = self._heading, ""
        if heading:
            self.say(heading)


class _Drawing:
    """Draws the line at whatever width the terminal has by then."""

    def __init__(self, progress: ProgressLine) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._progress.draw(options.max_width)


def fit(name: str, parts: Sequence[str], width: int) -> tuple[str, int, str]:
    """Make a line fit: shorten the name and the bar, then leave out parts, the last one first.

    Args:
        name: of what goes on.
        parts: what the line says, the most important first. The first three stay for longer than the bar does.
        width: cells that there are.

    Returns:
        The name, shortened with "…" or empty; cells of the bar, 0 for none; and the parts that stay, with commas.
    """
    kept = list(parts)

    def needs(bar: int) -> int:
        least = min(cell_len(name), _NAME if bar else _INITIALS) + 1
        return least + (bar + 1 if bar else 0) + cell_len(", ".join(kept))

    while len(kept) > _MATTERS and needs(_BAR) > width:
        kept.pop()
    bar = _BAR if needs(_BAR) <= width else 0
    while len(kept) > 1 and needs(bar) > width:
        kept.pop()
    text = ", ".join(kept)
    room = width - cell_len(text) - 1 - (bar + 1 if bar else 0)
    shown = Text(name)
    shown.truncate(max(room, 0), overflow="ellipsis")
    if bar:
        bar = min(_LONGEST_BAR, bar + room - shown.cell_len)
    return shown.plain if room > 1 else "", bar, text


def duration(seconds: float) -> str:
    """ "0:07", "12:30", "3:04:05", and from two days on "5 days"."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
