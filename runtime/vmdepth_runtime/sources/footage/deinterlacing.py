"""Whole frames of video that was filmed in fields."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
from av.filter import Graph

_NOTE = "interlaced: deinterlaced"
# One frame for two fields, in the order that each frame says, and only of those that say they are interlaced.
_OF_SEVERAL = ("bwdif", {"mode": "send_frame", "parity": "auto", "deint": "interlaced"})
_ALONE = ("w3fdif", {"mode": "frame", "parity": "auto", "deint": "interlaced"})


class Deinterlacer:
    """Gives the frames of one source in their order, interlaced ones as they are at the time of their first field.

    It is FFmpeg's `bwdif`: lines of the other field come from the lines around them and the fields before and after, so
    that from the first interlaced frame on each is given when the next one is there. Until then frames pass untouched.

    Args:
        notes: gets a line when the first interlaced frame comes.
    """

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._graph: Graph | None = None
        self._layout: tuple[int, int, str] | None = None
        self._inside: deque[av.VideoFrame] = deque()  # as decoded, in the order they come out

    def __call__(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        """Take a frame; those that are now whole, none or several."""
        layout = (frame.width, frame.height, frame.format.name)
        whole = self.flush() if layout != self._layout else []
        if self._graph is None:
            if not frame.interlaced_frame:
                return [*whole, frame]
            self._graph, self._layout = _graph(frame, _OF_SEVERAL), layout
            if _NOTE not in self._notes:
                self._notes.append(_NOTE)
        self._inside.append(frame)
        self._graph.vpush(frame)
        return whole + self._pull()

    def flush(self) -> list[av.VideoFrame]:
        """The frames that it still holds: none comes after them."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        whole = self._pull()
        self._graph = self._layout = None
        self._inside.clear()
        return whole

    def _pull(self) -> list[av.VideoFrame]:
        assert self._graph is not None
        whole: list[av.VideoFrame] = []
        while True:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return whole
            decoded = self._inside.popleft()
            frame.pts, frame.time_base = decoded.pts, decoded.time_base
            whole.append(frame)


def whole_frames(frames: Iterable[av.VideoFrame], notes: list[str]) -> Iterator[av.VideoFrame]:
    """Frames of one source as a `Deinterlacer` gives them, to the last."""
    deinterlacer = Deinterlacer(notes)
    for frame in frames:
        yield from deinterlacer(frame)
    yield from deinterlacer.flush()


def whole_frame(frame: av.VideoFrame) -> av.VideoFrame:
    """One frame whose neighbours are not there, deinterlaced where it has to be, as its first field is."""
    if not frame.interlaced_frame:
        return frame
    graph = _graph(frame, _ALONE)
    graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()


def _graph(frame: av.VideoFrame, how: tuple[str, dict[str, str]]) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    name, options = how
    whole, sink = graph.add(name, **options), graph.add("buffersink")
    source.link_to(whole)
    whole.link_to(sink)
    graph.configure()
    return graph
