"""Depth as a video to look at."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import SinkFacts, writing
from vmdepth_runtime.sinks.encoder import choose_encoder
from vmdepth_runtime.sinks.files import OneFileSink
from vmdepth_runtime.sinks.soundtrack import Soundtrack
from vmdepth_runtime.sources.base import SourceFrame


class Mp4Sink(OneFileSink):
    """Coloured depth, the source to its left unless told otherwise, H.264 4:2:0, each frame at the source's time.

    4:2:0 knows even sizes only: an odd one gets one more row or column, a copy of the last; `notes` says so. The
    source's sound is copied; where that cannot be, `notes` says so too. While it is written the file is fragmented:
    whatever happens, all but the last second of it plays.
    """

    ending = ".mp4"
    remark = "side by side"
    needs_range = True
    wants_depth = False
    wants_colour = True
    for_eyes = True

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        info = facts.info
        self._rows, self._columns = self.colour_size(info.height, info.width)
        self._left = self._columns if facts.side_by_side else 0
        width, height = self._left + self._columns, self._rows
        for size, what in ((height, "rows"), (width, "columns")):
            if size % 2:
                self.notes.append(f"{self.path.name}: {size} {what} are odd, the last one is there twice")
        self._size = width + width % 2, height + height % 2
        self._reformatters = VideoReformatter(), VideoReformatter()  # each keeps what it set up for one size
        self._ticks_per_frame = max(1, round(1 / (info.fps * info.time_base)))
        self._last_tick = -1
        self._shift = 0
        self._moved = False
        # Fragments while it grows, an ordinary file once it is closed; sound that ends early holds no picture back.
        muxing = {
            "movflags": "+hybrid_fragmented",
            "frag_duration": "500000",
            "flush_packets": "1",
            "max_interleave_delta": "1000000",
        }
        with writing(self.path):
            self._container = av.open(str(self._part), "w", format="mp4", options=muxing)
        self._stream = self._add_video()
        self._sound = self._add_sound()

    def _add_video(self) -> VideoStream:
        info, (width, height) = self.facts.info, self._size
        self.encoder, options = choose_encoder(width, height, info.fps, shrunk=self._rows < info.height)
        rate = Fraction(info.fps).limit_denominator(1001)
        stream = cast("VideoStream", self._container.add_stream(self.encoder, rate=rate, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        codec = stream.codec_context
        codec.time_base = info.time_base
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def _add_sound(self) -> Soundtrack | None:
        sound = self.facts.sound
        if sound is None:
            return None
        try:
            if sound.reopen is None:
                raise ValueError("a pipe's or live source's is not kept")
            return Soundtrack(sound.reopen(), sound.origin + self.facts.info.begin, self._container)
        except (InputError, ValueError) as error:
            self.notes.append(f"{self.path.name}: has no sound ({error})")
            return None

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        tick = self._tick(frame)
        if self._sound is not None:
            self._sound.copy(until=float(tick * self.facts.info.time_base))
        # A new canvas for each frame: an encoder may look at some of them for longer.
        canvas = av.VideoFrame(*self._size, "yuv420p")
        if self._left:
            self._paint(canvas, frame.image, 0, self._reformatters[0])
        self._paint(canvas, colour, self._left, self._reformatters[1])
        canvas.pts, canvas.time_base = tick, self.facts.info.time_base
        self._container.mux(self._stream.encode(canvas))

    def _paint(self, canvas: av.VideoFrame, image: NDArray[np.uint8], left: int, reformatter: VideoReformatter) -> None:
        """An RGB image into the canvas, scaled to its half, from column `left` on."""
        picture = reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24"),
            self._columns,
            self._rows,
            "yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        for half, whole, step in zip(_planes(picture), _planes(canvas), (1, 2, 2), strict=True):
            rows, columns = half.shape
            begin = left // step
            part = whole[:, begin : begin + columns]
            part[:rows], part[rows:] = half[:, : part.shape[1]], half[-1:, : part.shape[1]]
            after = begin + columns  # there is one where the size is odd
            whole[:, after : after + 1] = whole[:, after - 1 : after]

    def _tick(self, frame: SourceFrame) -> int:
        """The frame's time in time bases. A video must have them rising, which a damaged or restarted source breaks."""
        tick = round((frame.time - self.facts.info.begin) / self.facts.info.time_base) + self._shift
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
        if self._sound is not None:
            self._sound.copy(until=float((self._last_tick + self._ticks_per_frame) * self.facts.info.time_base))
            self._sound.close()
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _drop(self) -> None:
        if self._sound is not None:
            self._sound.close()
        try:
            self._container.close()
        except (av.FFmpegError, OSError, ValueError):
            return  # the disk may be full; what is there goes anyway


def _planes(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    """Views onto a planar frame's planes, uint8 `[H, W]` each."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]
