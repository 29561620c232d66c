"""The pictures of a recording as a source."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source, SourceFrame, VideoInfo
from vmdepth_runtime.sources.listing import called
from vmdepth_runtime.sources.ranges.selection import Selection
from vmdepth_runtime.sources.recordings.cameras import camera_of, lens_of
from vmdepth_runtime.sources.recordings.clock import FARTHEST, Clock
from vmdepth_runtime.sources.recordings.images import ImageReader, never_read
from vmdepth_runtime.sources.recordings.rosbag import open_recording
from vmdepth_runtime.sources.recordings.topics import first_of, picture_topic
from vmdepth_runtime.sources.settings import ReadSettings

_TIME_BASE = Fraction(1, 90_000)
_PATIENCE = 3  # frames that may be missing before it is a gap, however slow the camera is
_SEEN = 16  # pictures whose levels are looked at
_LOOKS = 20  # messages whose stamps tell the rate
_FPS = 30.0  # of a single frame


class RecordingSource(Source):
    """The pictures of a topic, each at the time its camera stamped it.

    A stamp that goes back, as where a recording was played and recorded again, or comes late by more than `max_gap` and
    three frames is a discontinuity. Where it goes back, or forward by more than an hour, the times go on.

    Args:
        path: as `open_recording` takes it.
        read: which topic, and which of its frames are taken.
        max_gap: seconds.

    Raises:
        InputError: there is no such topic, or none of its frames can be read.
    """

    tells_jumps: ClassVar[bool] = True

    def __init__(self, path: Path, read: ReadSettings, *, max_gap: float) -> None:
        super().__init__(called(path))
        if read.fps is not None:
            raise InputError(
                f"{path}: has times of its own; --fps is for images and streams without times, --every takes fewer"
            )
        self.path = path
        self._recording = open_recording(path)
        self.notes += self._recording.notes
        try:
            self._topic = picture_topic(self._recording, str(path), read.topic)
            told = first_of(self._recording, self._topic)
            if told is not None and (why := never_read(told.message)):
                raise InputError(f"{path}: {self._topic.name} {why}")
            self._fps = self._rate()
            self._clock = Clock(max(max_gap, _PATIENCE / self._fps), 1 / self._fps)
            self._selection = Selection(read)
            self._reader = ImageReader(self._looks())
            if self._reader.grey is not None and self._reader.grey.is_stretched:
                self.notes.append(str(self._reader.grey))
            self._next_index = 0
            self._time = 0.0  # of the latest frame
            self._begin: int | None = None  # when the first frame taken was recorded
            self._ahead = self._read()
            first = next(self._ahead, None)
            if first is None:
                raise self._no_frame()
            self._first = first
            if told is not None:
                self._find_camera(told.message.header.frame_id)
        except BaseException:
            self._recording.close()
            raise

    @property
    def seekable(self) -> bool:
        return True

    def __iter__(self) -> Iterator[SourceFrame]:
        yield self._first
        yield from self._ahead

    def close(self) -> None:
        self._recording.close()

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        assert self._begin is not None
        end = self._recording.end
        if self._selection.last is not None and self._selection.first is not None:
            length = (self._selection.last - self._selection.first + 1) / self._fps
            end = min(end, self._begin + round(length * 1e9))
        images: list[NDArray[np.uint8]] = []
        recording, reader, seen = open_recording(self.path), self._reader.alike(), -1
        try:
            for part in range(count):
                start = self._begin + (end - self._begin) * (2 * part + 1) // (2 * count)
                told = next(recording.messages(self._topic.name, start), None)
                if told is None or told.message is None or told.time <= seen:
                    continue
                seen = told.time
                image = reader(told.message)
                if not isinstance(image, str) and image.shape == self._first.image.shape:
                    images.append(image)
        finally:
            recording.close()
        return images or [self._first.image]

    def _read(self) -> Iterator[SourceFrame]:
        broken_off = False  # whether the next frame does not continue the last one that was given
        for told in self._recording.messages(self._topic.name):
            index, self._next_index = self._next_index, self._next_index + 1
            if self._selection.is_over(index):
                return
            if told.message is None:
                self._time += 1 / self._fps
                self._lose(index, self._time, told.damage)
                continue
            time, jump = self._clock(told.stamp)
            self._time = time
            if jump and self._begin is not None:
                broken_off = True
                self._tell_jump(time, jump)
            if not self._selection.takes(index, time):
                continue
            image = self._reader(told.message)
            if isinstance(image, str):
                self._lose(index, time, image)
                continue
            if self._begin is None:
                self._begin = told.time
                self.info = self._describe(image, time)
                self.frame_id = told.message.header.frame_id or self.frame_id
            image, changed = self._at_one_size(image)
            yield SourceFrame(index, time, image, changed or broken_off, stamp=told.stamp)
            broken_off = False
            if self._selection.is_over(index + 1):
                return
        if self._recording.broken:
            self._warn(f"{self.name} ended early: {self._recording.broken}; {self._next_index} frames read")

    def _describe(self, image: NDArray[np.uint8], time: float) -> VideoInfo:
        height, width = image.shape[:2]
        begin = 0.0 if self._selection.from_the_start else time
        frames = self._selection.count(self._topic.count)
        return VideoInfo(width, height, frames, self._fps / self._selection.every, _TIME_BASE, begin)

    def _rate(self) -> float:
        """Frames per second, by the stamps of the first ones."""
        stamps = [told.stamp for told in islice(self._recording.messages(self._topic.name), _LOOKS) if told.message]
        steps = [after - before for before, after in pairwise(stamps) if after > before]
        return 1e9 / median(steps) if steps else _FPS

    def _looks(self) -> Iterator[Any]:
        """Messages of pictures, the first one and others over all of the recording."""
        begin, length, seen = self._recording.begin, self._recording.end - self._recording.begin, -1
        for part in range(_SEEN):
            told = next(self._recording.messages(self._topic.name, begin + length * part // _SEEN), None)
            if told is not None and told.message is not None and told.time > seen:
                seen = told.time
                yield told.message

    def _find_camera(self, frame_id: str) -> None:
        """What the recording says of the camera of that frame id, where that fits its frames."""
        told = camera_of(self._recording, self._topic.name, frame_id)
        if told is None:
            return
        lens, remark = lens_of(told, self._topic.name)
        if remark:
            self._warn(f"{self.name}: {remark}")
        try:
            if lens is not None:
                lens.camera(self.info.width, self.info.height, self.name)
            self.lens = lens
        except InputError as error:
            self.refused_lens = str(error)
            self._warn(f"{error}; taken as a camera that nothing is known of")

    def _tell_jump(self, time: float, jump: float) -> None:
        if jump < 0:
            self._warn(f"{self.name} at {time:.3f} s: stamps go back by {-jump:.3f} s, the stream starts anew")
        elif jump > FARTHEST:
            self._warn(f"{self.name} at {time:.3f} s: stamps go forward by {jump:.3f} s, the stream starts anew")
        elif jump > 0:
            self._warn(f"{self.name} at {time:.3f} s: after {jump:.1f} s without a frame the stream starts anew")

    def _lose(self, index: int, time: float, reason: str) -> None:
        if self._selection.takes(index, time):
            self._skip(index, f"{self.name} at {time:.3f} s", reason)

    def _no_frame(self) -> InputError:
        if not self.skipped:
            return self._selection.beyond(str(self.path), self._next_index, self._next_index / self._fps)
        first = self.skipped[0]
        return InputError(
            f"{self.path}: none of the frames of {self._topic.name} can be read; the first: {first.reason}"
        )
