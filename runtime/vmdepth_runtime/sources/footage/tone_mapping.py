"""Frames of high dynamic range as ordinary ones."""

from __future__ import annotations

from fractions import Fraction
from tempfile import NamedTemporaryFile

import av
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from vmdepth_runtime.sources.footage.hdr_table import HLG, PQ, sdr_table

NAMES = {PQ: "PQ", HLG: "HLG"}
_POINTS = 33  # along each axis; 65 come 0.2 to 0.8 of 255 nearer on test patterns, and take eight times as long to make
_LAYOUT = "gbrp16le"  # lut3d is four times as fast with it as with 10 bits or packed ones
_SHARP = Interpolation.BICUBIC  # of chroma: an error in a signal of PQ is a larger one in what it becomes


class ToneMapper:
    """Brings the frames of one source to the range and gamut of ordinary pictures, by FFmpeg's `lut3d`."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._graph: Graph | None = None
        self._made_for: tuple[int, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Convert a frame whose transfer characteristic is one of `NAMES`, of any pixel format, to 16 bits."""
        facts = (frame.width, frame.height, frame.color_trc, frame.color_primaries)
        if self._graph is None or facts != self._made_for:
            self._graph, self._made_for = _graph(frame), facts
        self._graph.vpush(self._reformatter.reformat(frame, format=_LAYOUT, interpolation=_SHARP))
        return self._graph.vpull()


def _graph(frame: av.VideoFrame) -> Graph:
    table = sdr_table(frame.color_trc, frame.color_primaries, _POINTS)
    rows = table.transpose(2, 1, 0, 3).reshape(-1, 3)  # of the format of Adobe's .cube, whose red runs fastest
    with NamedTemporaryFile("w", suffix=".cube") as file:
        file.write(f"LUT_3D_SIZE {_POINTS}\n" + "%.6f %.6f %.6f\n" * len(rows) % tuple(rows.ravel().tolist()))
        file.flush()
        graph = Graph()
        layout = av.VideoFormat(_LAYOUT)
        source = graph.add_buffer(width=frame.width, height=frame.height, format=layout, time_base=Fraction(1, 1000))
        mapping, sink = graph.add("lut3d", file=file.name), graph.add("buffersink")
        source.link_to(mapping)
        mapping.link_to(sink)
        graph.configure()
    return graph
