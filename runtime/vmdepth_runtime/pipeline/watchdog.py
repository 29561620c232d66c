"""Who notices when a stage stands still: people, through a line on stderr, and systemd, through its watchdog."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from time import perf_counter


class Pulse:
    """When a stage took up what it is at. name: as it is told. allowed: how many times the watchdog's limit it may
    take. seconds: busy so far, without waiting for other stages. A piece of work is done within `with pulse:`."""

    def __init__(self, name: str, allowed: float = 1.0) -> None:
        self.name = name
        self.allowed = allowed
        self.seconds = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._since is not None:
            self.seconds += perf_counter() - self._since
        self._since = None

    @property
    def busy(self) -> float:
        """Seconds that the work in hand takes already; 0 between two."""
        since = self._since
        return 0.0 if since is None else perf_counter() - since


class Watchdog:
    """A thread that looks at pulses.

    limit: seconds after which a stage counts as stalled. tell: gets a line then, and one when it goes on. As long as no
    stage is stalled, systemd is told that all is well (sd_notify's WATCHDOG=1), if it asked for that.

    Attributes: stalls, how often a stage stalled.
    """

    def __init__(self, pulses: Sequence[Pulse], limit: float, tell: Callable[[str], None]) -> None:
        self.stalls = 0
        self._pulses, self._limit, self._tell = pulses, limit, tell
        self._end = Event()
        self._thread = Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        notify_systemd("READY=1")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        notify_systemd("STOPPING=1")

    def _run(self) -> None:
        stalled: set[str] = set()
        while not self._end.wait(min(1.0, self._limit / 2)):
            for pulse in self._pulses:
                still = pulse.busy > self._limit * pulse.allowed
                if still and pulse.name not in stalled:
                    stalled.add(pulse.name)
                    self.stalls += 1
                    self._tell(f"{pulse.name} stands still for {pulse.busy:.0f} s")
                elif not still and pulse.name in stalled:
                    stalled.discard(pulse.name)
                    self._tell(f"{pulse.name} goes on")
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
