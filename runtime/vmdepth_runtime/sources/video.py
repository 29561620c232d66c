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
from vmdepth_runtime.sources.pipe import Pipe
from vmdepth_runtime.sources.sound import Sound

# Codecs where each packet is one picture (unless interlaced), so that a picture which fails to come is lost even when
# the decoder says nothing. Elsewhere packets may be meant not to show anything.
_EACH_SHOWS = ("h264", "hevc")
Opened = tuple[InputContainer, VideoStream]
_SLACK = 2.5  # frame lengths that a header's duration may be off by with nothing missing; some are


class VideoSource(Source):
    """The first video stream of a file, each frame at the time the file gives it.

    Args:
        path: the file.
        seekable: whether it can be opened a second time and read out of order (a pipe cannot).
        reopen: how a file that is not on this machine is opened; None for one that is.
        opened: what `reopen` gave the first time.

    Raises:
        InputError: no frame can be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        seekable: bool,
        reopen: Callable[[], Opened] | None = None,
        opened: Opened | None = None,
    ) -> None:
        super().__init__(path.name)
        self.path = path
        self._pipe = None if seekable else Pipe(path)
        self._reopen = reopen or (lambda: _open(path, None))
        self._container, self._stream = opened or _open(path, self._pipe)
        self._stream.thread_type = "AUTO"
        self._is_file = seekable
        self._time_base = self._stream.time_base or Fraction(1, 90_000)
        self._fps = float(self._stream.average_rate or self._stream.guessed_rate or 30)
        self._to_rgb = RgbConverter()
        self._packets = 0  # read so far
        self._pending: set[int] = set()  # times of packets whose frames have not come out yet
        self._damage: str | None = None  # what the decoder said about damaged packets, once it met one
        self._each_shows = self._stream.codec_context.name in _EACH_SHOWS
        self._break: str | None = None  # why reading the file stopped before its end
        self._origin: int | None = None  # pts of the first frame
        self._last_pts: int | None = None
        self._next_index = 0
        self._ahead = self._read()
        try:
            first = next(self._ahead, None)
        except BaseException:
            self.close()
            raise
        if first is None:
            self.close()
            reason = f", the first: {self.skipped[0]}" if self.skipped else ""
            hint = "is it complete?" if seekable else "a pipe needs a format that streams, such as MPEG-TS or Matroska"
            raise InputError(f"{path}: not one frame of it can be read{reason}; {hint}")
        self._first = first

    @property
    def seekable(self) -> bool:
        return self._is_file and _seconds(self._container) is not None

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
        interval = max(1, round(1 / (self._fps * self._time_base)))
        for frame in self._decode(self._container, self._stream):
            pts = frame.pts
            if pts is None:  # raw streams carry no times: the nominal rate is all there is
                pts = 0 if self._last_pts is None else self._last_pts + interval
            self._each_shows &= not frame.interlaced_frame
            self._name_missing(before=pts)
            if self._origin is None:
                self._origin = pts
            self._last_pts = pts
            index, self._next_index = self._next_index, self._next_index + 1
            if frame.is_corrupt:
                self._lose(index, pts, "damaged, the decoder had to guess parts of it")
                continue
            image = self._to_rgb(frame)
            if not hasattr(self, "info"):
                height, width = image.shape[:2]
                self.info = VideoInfo(width, height, self._stream.frames or None, self._fps, self._time_base)
            image, discontinuity = self._at_one_size(image)
            yield SourceFrame(index, float((pts - self._origin) * self._time_base), image, discontinuity)
        ended_early = self._ended_early(interval)
        if ended_early is not None:
            self._warn(ended_early)
        else:
            self._name_missing(before=None)

    def _decode(
        self, container: InputContainer, stream: VideoStream, after: int | None = None
    ) -> Iterator[av.VideoFrame]:
        """Frames in the order they are shown, past every packet that does not decode. after: only those later."""
        packets = container.demux(stream)
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
            self._packets += after is None and not flushing
            if packet.pts is not None and not packet.is_discard and (after is None or packet.pts > after):
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
                if after is None or (frame.pts is not None and frame.pts > after):
                    yield frame
            if flushing and after is None:
                yield from self._decode_tail()

    def _decode_tail(self) -> Iterator[av.VideoFrame]:
        """Frames that should have come at the end and did not, if the file can be read again.

        With frame threads a damaged packet near the end takes its good neighbours with it; in one thread it does not.
        """
        after = self._last_pts
        if not self._is_file or after is None or max(self._pending, default=after) <= after:
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
        self._skip(index, self._at(pts), reason)

    def _at(self, pts: int | None) -> str:
        if pts is None or self._origin is None:
            return self.path.name
        return f"{self.path.name} at {float((pts - self._origin) * self._time_base):.3f} s"

    def _ended_early(self, interval: int) -> str | None:
        """What is missing at the end, if anything is. A promised count alone is not believed: headers miscount."""
        read = self._next_index
        if self._break is not None:
            return f"{self.path.name} ended early: reading failed after {read} frames ({self._break})"
        if self._last_pts is None or self._origin is None:
            return None
        reached = float((self._last_pts - self._origin + interval) * self._time_base)
        promised = _seconds(self._container)
        if promised is None or reached + _SLACK * interval * float(self._time_base) >= promised:
            return None
        if self._stream.frames:
            if self._packets >= self._stream.frames:
                return None
            return f"{self.path.name} ended early: {read} of {self._stream.frames} frames"
        if len(self._container.streams) > 1 and reached > promised - 1:
            return None  # without a count the duration may be the sound's, which often runs on a little
        return f"{self.path.name} ended early: {reached:.2f} of {promised:.2f} s"

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        if not self.seekable:
            return []
        images: list[NDArray[np.uint8]] = []
        to_rgb = RgbConverter()
        for frame in self._sample_frames(count):
            image = to_rgb(frame)
            if image.shape == self._first.image.shape:
                images.append(image)
        return images

    def _sample_frames(self, count: int) -> Iterator[av.VideoFrame]:
        """The first frame that a decoder reaches in each of `count` equal parts of the video.

        A file with few key frames is decoded once at most, however many parts there are: a second container looks
        where a seek would land, and the first one jumps only when that is ahead of where it is.
        """
        total = (_seconds(self._container) or 0.0) / float(self._time_base)
        start = self._origin or 0
        (walker, stream), (scout, scouted) = self._reopen(), self._reopen()
        with walker, scout:
            frames = _readable(walker, stream)
            position = start - 1
            for part in range(count):
                begin, middle = start + int(total * part / count), start + int(total * (part + 0.5) / count)
                key = _landing(scout, scouted, middle)
                if key is not None and key > position:
                    walker.seek(middle, stream=stream)
                    frames = _readable(walker, stream)
                for position, frame in frames:
                    if position >= begin:
                        yield frame
                        break


def _open(path: Path, pipe: Pipe | None) -> Opened:
    try:
        # The prefix keeps a colon in the name from being read as a protocol.
        container = av.open(f"file:{path}" if pipe is None else pipe, mode="r")
    except av.FFmpegError as error:
        if pipe is not None:
            pipe.check()
        raise InputError(f"{path}: {_why_closed(path, error)}") from None
    stream = container.streams.best("video")
    # ffmpeg takes any .txt for terminal art and would play it.
    if not isinstance(stream, VideoStream) or container.format.name == "tty":
        container.close()
        raise InputError(f"{path}: there is no picture in it; give a video file or a folder of images")
    return container, stream


def _why_closed(path: Path, error: av.FFmpegError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror}); check its permissions"
    if path.is_file():
        with path.open("rb") as file:
            if file.read(12)[4:8] == b"ftyp":
                return "broken off before its index (moov), nothing can be decoded; copy or record it again"
    return "not a video that can be read; give a video file or a folder of images"


def _seconds(container: InputContainer) -> float | None:
    """How long the file says it is; None where it does not say."""
    return container.duration / av.time_base if container.duration else None


def _readable(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames with their times, past all damage, from where the container stands."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.FFmpegError:
            continue  # a generator that raised is at its end, so this comes to an end as well
        yield from ((frame.pts, frame) for frame in frames if frame.pts is not None and not frame.is_corrupt)


def _landing(container: InputContainer, stream: VideoStream, pts: int) -> int | None:
    """The time of the packet that a seek to `pts` leads to; None where seeking fails."""
    try:
        container.seek(pts, stream=stream)
        return next((p.pts for p in container.demux(stream) if p.pts is not None), None)
    except av.FFmpegError:
        return None
