"""Where depth goes: side-by-side video, raw arrays. Nothing stands under the final name before it is complete."""

from __future__ import annotations

import shutil
import zipfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import check_target, part_name
from vmdepth_runtime.sources import SourceFrame, VideoInfo

_NPY_HEADER_BYTES = 128


class Sink(ABC):
    """Takes frames with their depth. `close` finishes the output and gives it its name; `abort`, or leaving the `with`
    block by an exception, leaves nothing behind. A sink that was given no frame leaves nothing either.

    Attributes: path; notes, one line each, what about the output is not as the source was; wants_colour.
    """

    wants_colour: ClassVar[bool]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.frames = 0
        self._part = part_name(path)
        self._open = True

    def write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        """frame: of the size in the `VideoInfo` the sink was opened with. depth: float32 `[H, W]`. colour: uint8
        `[H, W, 3]` RGB, read only where the sink `wants_colour`. Raises WorkError when it cannot be written."""
        with _writing(self.path):
            self._write(frame, depth, colour)
        self.frames += 1

    def close(self) -> None:
        """Finish; the output now stands under its name, in place of what was there. Raises WorkError."""
        if not self._open:
            return
        if self.frames == 0:
            self.abort()
            return
        try:
            with _writing(self.path):
                self._finish()
                self._part.replace(self.path)
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Give up; remove what was written so far."""
        if self._open:
            self._open = False
            self._drop()
            self._part.unlink(missing_ok=True)

    @abstractmethod
    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Make `self._part` complete."""

    @abstractmethod
    def _drop(self) -> None:
        """Let go of whatever is open, without an error."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class Mp4Sink(Sink):
    """Source and coloured depth side by side, H.264 4:2:0, each frame at the source's time.

    An odd height gets one more row (a copy of the last), because 4:2:0 knows only even ones; `notes` says so.
    """

    wants_colour = True

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path)
        self._info = info
        height = info.height + info.height % 2
        if height != info.height:
            self.notes.append(f"{path.name}: {info.height} rows are odd, the last one is there twice")
        self._canvas = np.empty((height, 2 * info.width, 3), np.uint8)
        self._reformatter = VideoReformatter()
        self._ticks_per_frame = max(1, round(1 / (info.fps * info.time_base)))
        self._last_tick = -1
        self._shift = 0
        self._moved = False
        with _writing(path):
            self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        # No B-frames: with them mp4 needs an edit list, and the last frame of a variable rate loses its length.
        options = {"preset": "veryfast", "bf": "0"}
        rate = Fraction(info.fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = 2 * info.width, height, "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = info.time_base
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        rows, width = self._info.height, self._info.width
        self._canvas[:rows, :width] = frame.image
        self._canvas[:rows, width:] = colour
        self._canvas[rows:] = self._canvas[rows - 1]
        # Encoder and reformatter copy, so the canvas may be painted over for the next frame.
        picture = self._reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(self._canvas, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        picture.pts, picture.time_base = self._tick(frame), self._info.time_base
        self._container.mux(self._stream.encode(picture))

    def _tick(self, frame: SourceFrame) -> int:
        """The frame's time in time bases. A video must have them rising, which a damaged or restarted source breaks."""
        tick = round(frame.time / self._info.time_base) + self._shift
        if tick <= self._last_tick:
            moved = self._last_tick + (1 if tick == self._last_tick else self._ticks_per_frame)
            if tick < self._last_tick:  # the clock was set back: what follows keeps its spacing, later
                self._shift += moved - tick
            if not self._moved:
                self._moved = True
                self.notes.append(f"{self.path.name}: times do not rise at frame {frame.index}; some frames are moved")
            tick = moved
        self._last_tick = tick
        return tick

    def _finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _drop(self) -> None:
        try:
            self._container.close()
        except (av.FFmpegError, OSError, ValueError):
            return  # the disk may be full; what is there goes anyway


class NpzSink(Sink):
    """`depth` float32 `[N, H, W]` at the source's size and `times` float64 `[N]` in seconds, for `np.load`.

    Frames go to disk as they come, in a `.npy` file beside the target; at the end its header gets the count and the
    whole goes into the archive, uncompressed. Until then the disk holds the depth twice.
    """

    wants_colour = False

    def __init__(self, path: Path, info: VideoInfo) -> None:
        super().__init__(path)
        self._info = info
        self._times = array("d")
        self._npy = self._part.with_name(f"{self._part.name}.npy")
        with _writing(path):
            self._file = self._npy.open("wb")
            self._file.write(self._header())

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        self._file.write(np.ascontiguousarray(depth, "<f4").data)
        self._times.append(frame.time)

    def _finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()
        with zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("depth.npy", "w", force_zip64=True) as target, self._npy.open("rb") as depth:
                shutil.copyfileobj(depth, target, 1 << 20)
            with archive.open("times.npy", "w") as target:
                np.lib.format.write_array(target, np.array(self._times), version=(1, 0))
        self._npy.unlink()

    def _drop(self) -> None:
        self._file.close()
        self._npy.unlink(missing_ok=True)

    def _header(self) -> bytes:
        """Always as long, whatever the count, so that it can be written over."""
        shape = (self.frames, self._info.height, self._info.width)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        body = text.ljust(_NPY_HEADER_BYTES - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode()


_SINKS: dict[str, type[Mp4Sink] | type[NpzSink]] = {".mp4": Mp4Sink, ".npz": NpzSink}


def check_output(path: Path, source: Path) -> None:
    """Raise InputError unless `path` has an ending that a sink exists for, and a file can be put there."""
    if path.suffix.lower() not in _SINKS:
        raise InputError(f"{path}: unknown output ending '{path.suffix}'; use {' or '.join(_SINKS)}")
    check_target(path, source)


def open_sink(path: str | Path, info: VideoInfo) -> Sink:
    """A sink by the path's ending: `.mp4` or `.npz`. Raises InputError on another one, WorkError when the file cannot
    be made. Check the path with `check_output` before any work is done."""
    path = Path(path)
    kind = _SINKS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: unknown output ending '{path.suffix}'; use {' or '.join(_SINKS)}")
    return kind(path, info)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror or error}); is the disk full?") from None
