"""Cameras and network streams: opened again whenever they are lost, for as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Event
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source, SourceFrame, VideoInfo
from vmdepth_runtime.sources.live_readers import ContainerReader, LostError, Reader
from vmdepth_runtime.sources.refusals import NoAnswerError
from vmdepth_runtime.sources.settings import LiveSettings
from vmdepth_runtime.sources.sound import Sound
from vmdepth_runtime.sources.uri import redacted
from vmdepth_runtime.stage_timer import StageTimer

WAITS = (0.25, 0.5, 1.0, 2.0)  # seconds between attempts to open a lost source; the last one over and over
_CLOCK_SET = 10**9  # nanoseconds; a clock that is off by more was set
_TIME_BASE = Fraction(1, 90_000)


class LiveSource(Source):
    """The pictures of a reader, timed as they come; opened again with growing waits when it is lost.

    Stamps are of this machine's clock: of what it said when the source was opened, and evenly on, until it is set, as
    that of a board is that starts in 1970 and then hears of the time.

    Why it is lost, and why it does not open again, are warnings; the latter once for as long as it stays the same.

    Args:
        uri: may hold credentials.
        reopen: gives a new reader; raises InputError, whose text holds no credentials, where it cannot.
        settings: how it is held on to.
        first: the reader to begin with, closed where it gives no picture.

    Attributes:
        timer: of waiting for a picture; opening the source again is no part of that.

    Raises:
        NoAnswerError: `first` gives no picture.
    """

    live: ClassVar[bool] = True
    tells_jumps: ClassVar[bool] = True
    timer: StageTimer

    def __init__(self, uri: str, reopen: Callable[[], Reader], settings: LiveSettings, first: Reader) -> None:
        super().__init__(redacted(uri))
        # A reader ends by itself after the time allowed once.
        self.timer = StageTimer(f"reading {self.name}", allowed=2.0)
        self._reopen, self._settings = reopen, settings
        self._attempts = 0  # to open it again, since the last picture
        self._refusal = ""  # why the latest of them failed
        self._reader: Reader | None = first
        self._has_sound = isinstance(first, ContainerReader) and first.has_sound
        self._stop = Event()
        try:
            self._ahead = first.read()
            self._take_notes(first)
        except LostError as lost:
            first.close()
            raise NoAnswerError(f"{self.name}: opens, but gives no picture ({lost}); is the camera sending?") from None
        self._begin, self._began = time.perf_counter(), time.time_ns()
        self._clock_was_set = False
        height, width = self._ahead.shape[:2]
        self.info = VideoInfo(width, height, None, first.fps, _TIME_BASE)

    @property
    def seekable(self) -> bool:
        return False

    @property
    def sound(self) -> Sound | None:
        return Sound(None) if self._has_sound else None

    def __iter__(self) -> Iterator[SourceFrame]:
        image, _ = self._at_one_size(self._ahead)
        yield SourceFrame(0, 0.0, image, arrived=self._begin, stamp=self._began)
        index, last = 0, time.perf_counter()  # what else took time since it was opened is no gap
        while (self.wanted is None or index + 1 < self.wanted) and (picture := self._next()) is not None:
            now = time.perf_counter()
            image, changed = self._at_one_size(picture)
            index += 1
            gap = now - last
            if gap > self._settings.max_gap:
                self._warn(f"{self.name}: nothing came for {gap:.1f} s, the stream starts anew")
            seconds, anew = now - self._begin, changed or gap > self._settings.max_gap
            yield SourceFrame(index, seconds, image, anew, now, stamp=self._stamp(seconds))
            last = now

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self.stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _stamp(self, seconds: float) -> int:
        """Nanoseconds since 1970 of what came just now. seconds: since the source was opened."""
        stamp = self._began + round(seconds * 1e9)
        ahead = time.time_ns() - stamp
        if abs(ahead) > _CLOCK_SET:
            self._began += ahead
            stamp += ahead
            if not self._clock_was_set:
                self._clock_was_set = True
                self._warn(
                    f"{self.name}: this machine's clock was set by {ahead / 1e9:+.1f} s; stamps go on from there"
                )
        return stamp

    def _next(self) -> NDArray[np.uint8] | None:
        """The next picture, however long it takes; None when the source is given up, or told to stop."""
        while not self._stop.is_set():
            if self._reader is None and not self._open_again():
                return None
            assert self._reader is not None
            try:
                with self.timer:
                    picture = self._reader.read()
                self._attempts, self._refusal = 0, ""
                self._take_notes(self._reader)
                return picture
            except LostError as lost:
                self.losses += 1
                self._warn(f"{self.name}: lost ({lost}); opening it again")
                self._reader.close()
                self._reader = None
        return None

    def _take_notes(self, reader: Reader) -> None:
        if isinstance(reader, ContainerReader):
            self.notes += [line for line in reader.notes if line not in self.notes]

    def _open_again(self) -> bool:
        while self._settings.retries is None or self._attempts < self._settings.retries:
            if self._stop.wait(WAITS[min(self._attempts, len(WAITS) - 1)]):
                return False
            self._attempts += 1
            try:
                self._reader = self._reopen()
                return True
            except InputError as refusal:
                if str(refusal) != self._refusal:
                    self._refusal = str(refusal)
                    self._warn(f"{refusal}; trying again")
        self._warn(f"{self.name}: given up after opening it {self._attempts} times again; --retries allows more")
        return False
