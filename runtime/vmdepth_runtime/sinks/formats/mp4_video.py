"""Depth as a video to look at."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.sinks.base import SinkFacts, writing
from vmdepth_runtime.sinks.files import OneFileSink
from vmdepth_runtime.sources.base import SourceFrame


class Mp4Sink(OneFileSink):
    """Coloured depth, the source to its left unless told otherwise, H.264 4:2:0, each frame at the source's time.

    4:2:0 knows even sizes only: an odd one gets one more row or column, a copy of the last; `notes` says so. While it
    is written the file is fragmented: whatever happens, all but the last second of it plays.
    """

    ending = ".mp4"
    remark = "side by side"
    needs_range = True
    wants_colour = True

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        info = facts.info
        self._left = info.width if facts.side_by_side else 0
        width, height = self._left + info.width, info.height
        for size, what in ((height, "rows"), (width, "columns")):
            if size % 2:
                self.notes.append(f"{self.path.name}: {size} {what} are odd, the last one is there twice")
        width, height = width + width % 2, height + height % 2
        self._canvas = np.empty((height, width, 3), np.uint8)
        self._reformatter = VideoReformatter()
        self._ticks_per_frame = max(1, round(1 / (info.fps * info.time_base)))
        self._last_tick = -1
        self._shift = 0
        self._moved = False
        # Fragments while it grows, an ordinary file once it is closed.
        muxing = {"movflags": "+hybrid_fragmented", "frag_duration": "500000", "flush_packets": "1"}
        with writing(self.path):
            self._container = av.open(str(self._part), "w", format="mp4", options=muxing)
        # No B-frames: with them mp4 needs an edit list, and the last frame of a variable rate loses its length. A
        # preset without lookahead, and a key frame every second, so that little is lost with a kill. As good a picture
        # as "veryfast" at 23, for a third less work and a third more bytes.
        options = {"preset": "superfast", "crf": "25", "bf": "0", "g": str(max(1, round(info.fps)))}
        rate = Fraction(info.fps).limit_denominator(1001)
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = info.time_base
        codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
        codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        rows, left = self.facts.info.height, self._left
        columns = left + self.facts.info.width
        if left:
            self._canvas[:rows, :left] = frame.image
        self._canvas[:rows, left:columns] = colour
        self._canvas[:rows, columns:] = self._canvas[:rows, columns - 1 : columns]
        self._canvas[rows:] = self._canvas[rows - 1]
        # Encoder and reformatter copy, so the canvas may be painted over for the next frame.
        picture = self._reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(self._canvas, format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        picture.pts, picture.time_base = self._tick(frame), self.facts.info.time_base
        self._container.mux(self._stream.encode(picture))

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
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _drop(self) -> None:
        try:
            self._container.close()
        except (av.FFmpegError, OSError, ValueError):
            return  # the disk may be full; what is there goes anyway
