"""A video file or pipe as a source. Damaged packets are skipped and named; what decodes is delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source, SourceFrame, VideoInfo
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.footage.deinterlacing import whole_frame, whole_frames
from vmdepth_runtime.sources.pipe import Pipe
from vmdepth_runtime.sources.ranges.avi_file import lacks_times, pictures_of_avi, take_time
from vmdepth_runtime.sources.ranges.selection import Selection
from vmdepth_runtime.sources.ranges.video_places import find_start, packet_times, spread_frames
from vmdepth_runtime.sources.settings import ReadSettings
from vmdepth_runtime.sources.sound import Sound
from vmdepth_runtime.sources.video_file import Opened, open_file, packets_of, seconds_of

# Codecs where each packet is one picture (unless interlaced), so that a picture which fails to come is lost even when
# the decoder says nothing. Elsewhere packets may be meant not to show anything.
_EACH_SHOWS = ("h264", "hevc")
_SLACK = 2.5  # frame lengths that a header's duration may be off by with nothing missing; some are


class VideoSource(Source):
    """The first video stream of a file, each frame at the time the file gives it.

    Args:
        path: the file.
        seekable: whether it can be opened a second time and read out of order (a pipe cannot).
        address: of a file that is not on this machine, safe to print; a `Path` would lose one of its slashes.
        reopen: how such a file is opened; None for one on this machine.
        opened: what `reopen` gave the first time.
        read: which frames are taken; None: all.

    Raises:
        InputError: no frame of what is taken can be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        seekable: bool,
        address: str = "",
        reopen: Callable[[], Opened] | None = None,
        opened: Opened | None = None,
        read: ReadSettings | None = None,
    ) -> None:
        super().__init__(path.name)
        self.path = path
        self._pipe = None if seekable else Pipe(path)
        self._reopen = reopen or (lambda: open_file(path))
        self._container, self._stream = opened or open_file(path, self._pipe)
        self._stream.thread_type = "AUTO"
        self._is_file = seekable
        counted = pictures_of_avi(path, self._container, self._stream) if seekable and not address else None
        self._promised = counted or self._stream.frames  # frames, 0: it does not say
        self._time_base = self._stream.time_base or Fraction(1, 90_000)
        self._fps = float(self._stream.average_rate or self._stream.guessed_rate or 30)
        self._read_settings = read or ReadSettings()
        self._selection = Selection(self._read_settings)
        self._to_rgb = RgbConverter(self._stream, self.notes)
        self._packets = 0  # read so far
        self._pending: set[int] = set()  # times of packets whose frames have not come out yet
        self._damage: str | None = None  # what the decoder said about damaged packets, once it met one
        self._each_shows = self._stream.codec_context.name in _EACH_SHOWS
        self._lacks_times = lacks_times(self._container, self._stream)
        self._break: str | None = None  # why reading the file stopped before its end
        self._origin: int | None = None  # pts of the first frame
        self._last_pts: int | None = None
        self._decoded: int | None = None  # pts of the latest one decoded: an interlaced one comes out after the next
        self._next_index = 0
        self._begin: int | None = None  # pts of the first frame taken, where reading began just before it
        self._timed = True  # until a frame comes without a time
        self._ahead = self._read()
        try:
            first = next(self._ahead, None)
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            if self._next_index > 0 and not self._selection.from_the_start and not self.skipped:
                raise self._selection.beyond(str(path), self._next_index, self._reached)
            reason = f", the first: {self.skipped[0]}" if self.skipped else ""
            hint = "is it complete?" if seekable else "a pipe needs a format that streams, such as MPEG-TS or Matroska"
            if address:
                hint = "its server may be unable to send parts of a file: download it and give the file"
            raise InputError(f"{address or path}: not one frame of it can be read{reason}; {hint}")
        self._first = first

    @property
    def seekable(self) -> bool:
        return self._is_file and seconds_of(self._container) is not None

    @property
    def sound(self) -> Sound | None:
        if not self._container.streams.audio:
            return None
        origin = float((self._origin or 0) * self._time_base)
        return Sound((lambda: self._reopen()[0]) if self._is_file else None, origin)

    def __iter__(self) -> Iterator[SourceFrame]:
        yield self._first
        yield from self._ahead

    def close(self) -> None:
        self._container.close()
        if self._pipe is not None:
            self._pipe.close()

    def _read(self) -> Iterator[SourceFrame]:
        if not self._selection.from_the_start and self._is_file and not self._lacks_times:
            self._go_to_start()
        for frame in whole_frames(self._decode(self._container, self._stream), self.notes):
            pts = frame.pts
            if pts is None:  # raw streams carry no times: the nominal rate is all there is
                self._give_rate()
                pts = 0 if self._last_pts is None else self._last_pts + self._interval
            if self._begin is not None and pts < self._begin:
                continue
            self._name_missing(before=pts)
            if self._origin is None:
                self._origin = pts
            self._last_pts = pts
            index, self._next_index = self._next_index, self._next_index + 1
            time = float((pts - self._origin) * self._time_base)
            if self._selection.is_over(index):
                return
            taken = self._selection.takes(index, time)
            if frame.is_corrupt and taken:
                self._lose(index, pts, "damaged, the decoder had to guess parts of it")
            if frame.is_corrupt or not taken:
                continue
            image = self._to_rgb(frame)
            if not hasattr(self, "info"):
                self.info = self._describe(image, time)
            image, discontinuity = self._at_one_size(image)
            yield SourceFrame(index, time, image, discontinuity)
            if self._selection.is_over(index + 1):
                return
        ended_early = self._ended_early()
        if ended_early is not None:
            self._warn(ended_early)
        else:
            self._name_missing(before=None)

    def _go_to_start(self) -> None:
        """Go to the key frame before the first frame that is taken, where packets tell where that is; else all is
        decoded from the first frame of the file on."""
        container, stream = self._reopen()
        with container:
            start = find_start(container, stream, self._selection, str(self.path))
        if start is not None:
            self._container.seek(start.key, stream=self._stream)
            self._selection.first = self._next_index = start.first
            self._origin, self._begin, self._packets = start.origin, start.begin, start.before

    def _describe(self, image: NDArray[np.uint8], time: float) -> VideoInfo:
        if self._timed and self._read_settings.fps is not None:
            raise InputError(
                f"{self.path}: has times of its own; --fps is for images and streams without times, --every takes fewer"
            )
        height, width = image.shape[:2]
        frames = self._selection.count(self._promised or None)
        begin = 0.0 if self._selection.from_the_start else time
        seconds = seconds_of(self._container) if frames is None and self._is_file else None
        about = None if seconds is None else self._selection.count(max(1, round(seconds * self._fps)))
        return VideoInfo(width, height, frames, self._fps / self._selection.every, self._time_base, begin, about)

    def _give_rate(self) -> None:
        """The stream carries no times: take the rate that was asked for."""
        if self._timed:
            self._timed = False
            self._fps = self._read_settings.fps or self._fps

    @property
    def _interval(self) -> int:
        """What a frame lasts, in time bases, by the nominal rate."""
        return max(1, round(1 / (self._fps * self._time_base)))

    @property
    def _reached(self) -> float:
        """Seconds until the end of the last frame."""
        if self._last_pts is None or self._origin is None:
            return 0.0
        return float((self._last_pts - self._origin + self._interval) * self._time_base)

    def _decode(
        self, container: InputContainer, stream: VideoStream, after: int | None = None
    ) -> Iterator[av.VideoFrame]:
        """Frames in the order they are shown, past every packet that does not decode. after: only those later."""
        packets = packets_of(container, stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self._break = error.strerror or str(error)
                with suppress(av.FFmpegError):
                    yield from stream.decode(None)  # what the decoder still holds
                return
            if self._pipe is not None:
                self._pipe.check()
            if packet is None:
                return
            flushing = packet.size == 0 and packet.dts is None
            if self._lacks_times:
                packet.pts = packet.dts  # where it stands in the file; the other is a guess
            self._packets += after is None and not flushing
            earliest = after + 1 if after is not None else self._begin
            if packet.pts is not None and not packet.is_discard and (earliest is None or packet.pts >= earliest):
                self._pending.add(packet.pts)
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                self._damage = error.strerror or str(error)
                if not flushing and packet.pts is None:
                    self._lose(self._next_index, self._last_pts, self._damage)
                    self._next_index += 1
                frames = []
            for frame in frames:
                self._each_shows &= not frame.interlaced_frame
                if self._lacks_times and frame.pts is not None:
                    frame.pts = take_time(frame, self._pending)
                if after is None or (frame.pts is not None and frame.pts > after):
                    self._decoded = frame.pts
                    yield frame
            if flushing and after is None:
                yield from self._decode_tail()

    def _decode_tail(self) -> Iterator[av.VideoFrame]:
        """Frames that should have come at the end and did not, if the file can be read again.

        With frame threads a damaged packet near the end takes its good neighbours with it; in one thread it does not.
        """
        after = self._decoded
        if not self._is_file or self._lacks_times or after is None or max(self._pending, default=after) <= after:
            return
        container, stream = self._reopen()
        with container:
            stream.thread_type = "NONE"
            container.seek(after, stream=stream)
            yield from self._decode(container, stream, after)

    def _name_missing(self, before: int | None) -> None:
        """Frames come out in order of time: what should have come before this one and did not is lost."""
        missing = sorted(pts for pts in self._pending if before is None or pts < before)
        self._pending -= {*missing, *([] if before is None else [before])}
        # An intact stream may begin with packets that need a picture from before the cut.
        if self._damage is None and (not self._each_shows or self._origin is None):
            return
        for pts in missing:
            self._origin = pts if self._origin is None else self._origin
            self._lose(self._next_index, pts, f"does not decode ({self._damage or 'no picture in it'})")
            self._next_index += 1

    def _lose(self, index: int, pts: int | None, reason: str) -> None:
        time = 0.0 if pts is None or self._origin is None else float((pts - self._origin) * self._time_base)
        if self._selection.takes(index, time):
            self._skip(index, self._at(pts), reason)

    def _at(self, pts: int | None) -> str:
        if pts is None or self._origin is None:
            return self.path.name
        return f"{self.path.name} at {float((pts - self._origin) * self._time_base):.3f} s"

    def _ended_early(self) -> str | None:
        """What is missing at the end, if anything is. A promised count alone is not believed: headers miscount."""
        read = self._next_index
        if self._break is not None:
            return f"{self.path.name} ended early: reading failed after {read} frames ({self._break})"
        if self._last_pts is None or self._origin is None:
            return None
        reached = self._reached
        promised = seconds_of(self._container)
        if promised is None or reached + _SLACK * self._interval * float(self._time_base) >= promised:
            return None
        if self._promised:
            if self._packets >= self._promised:
                return None
            return f"{self.path.name} ended early: {read} of {self._promised} frames"
        if len(self._container.streams) > 1 and reached > promised - 1:
            return None  # without a count the duration may be the sound's, which often runs on a little
        return f"{self.path.name} ended early: {reached:.2f} of {promised:.2f} s"

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        if not self.seekable:
            return []
        images: list[NDArray[np.uint8]] = []
        (walker, stream), scout = self._reopen(), self._reopen()
        to_rgb = RgbConverter(stream)
        with walker, scout[0]:
            for frame in spread_frames((walker, stream), scout, *self._stretch(), count):
                image = to_rgb(whole_frame(frame))
                if image.shape == self._first.image.shape:
                    images.append(image)
        return images

    def _stretch(self) -> tuple[int, int]:
        """Times of the first frame that is taken, and of the end of the last one, in time bases."""
        origin = self._origin or 0
        begin = origin + round(self.info.begin / self._time_base)
        end = origin + int((seconds_of(self._container) or 0.0) / self._time_base)
        last = self._selection.last
        if last is None:
            return begin, end
        container, stream = self._reopen()
        with container:
            times = packet_times(container, stream, frames=last + 1)
        assert self._selection.first is not None
        if times is None:  # as far as the nominal rate tells
            return begin, min(end, begin + (last + 1 - self._selection.first) * self._interval)
        return begin, times.shown[last] + 1 if last < len(times.shown) else end
