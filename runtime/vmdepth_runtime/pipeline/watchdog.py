"""Who notices when a stage stands still: people, through a line on stderr, and systemd, through its watchdog."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread

from vmdepth_runtime.stage_timer import StageTimer


class Watchdog:
    """A thread that looks at stages' timers.

    limit: seconds after which a stage counts as stalled. tell: gets a line then, and one when it goes on. As long as no
    stage is stalled, systemd is told that all is well (sd_notify's WATCHDOG=1), if it asked for that; not that the
    process is about to end: another source may come.

    Attributes: stalls, how often a stage stalled.
    """

    def __init__(self, timers: Sequence[StageTimer], limit: float, tell: Callable[[str], None]) -> None:
        self.stalls = 0
        self._timers, self._limit, self._tell = timers, limit, tell
        self._end = Event()
        self._thread = Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        notify_systemd("READY=1")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        stalled: set[str] = set()
        while not self._end.wait(min(1.0, self._limit / 2)):
            for timer in self._timers:
                still = timer.busy > self._limit * timer.allowed
                if still and timer.name not in stalled:
                    stalled.add(timer.name)
                    self.stalls += 1
                    self._tell(f"{timer.name} stands still for {timer.busy:.0f} s")
                elif not still and timer.name in stalled:
                    stalled.discard(timer.name)
                    self._tell(f"{timer.name} goes on")
            if not stalled:
                notify_systemd("WATCHDOG=1")


def notify_systemd(state: str) -> None:
    """Say it to the service manager that started this process; nothing where none did (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A manager that has gone away is no reason to stop.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())
