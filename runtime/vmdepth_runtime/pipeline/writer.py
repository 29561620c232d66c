"""Depth to the frame's size, to colours and to the outputs, in a thread of its own."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Thread, get_native_id

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.colour_map import NO_DEPTH, ColourRange, colourise
from vmdepth_runtime.depth.moving_marks import MovingMarks
from vmdepth_runtime.depth.resize import DepthResizer
from vmdepth_runtime.depth.stream_batch import StreamDepth
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.sessions.base import StepOutputs
from vmdepth_runtime.sinks.base import Sink
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo
from vmdepth_runtime.stage_timer import StageTimer

_WAITING = 4  # frames that may wait for the outputs before the network has to
_LOOK = 0.5  # seconds between two looks at whether an interrupt came
_PATIENCE = 5.0  # seconds that outputs may stand still once one came
_NICER = 3  # steps of priority below the network
_UNREAD_DEPTH, _UNREAD_COLOUR = np.empty((0, 0), np.float32), np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class _Kept:
    """A copy of what the sinks need of one frame's result; its arrays are made once, and used again."""

    depth: NDArray[np.float32]
    outputs: StepOutputs

    def take(self, result: StreamDepth, draws: Iterable[str]) -> None:
        """draws: the outputs that sinks need beside the depth."""
        np.copyto(self.depth, result.depth)
        for name in draws:
            array = result.outputs[name]
            if name not in self.outputs:  # only the network knows how long each is
                self.outputs[name] = np.empty_like(array)
            np.copyto(self.outputs[name], array)


class Writer:
    """Writes the frames and depth of one source to its sinks, in order, in a thread.

    Args:
        name: Of the source, for people.
        info: Of the source.
        sinks: Where all of it goes. They are closed by `finish` or `rescue`.
        colours: What gives the range of the colours; None where no sink shows any.
        resize: How frames became the model's size, which is undone.
        model_size: Height and width of the model's depth.
        palette: The name of the colours.
        marked: Whether what is coloured marks what moves, of a network that says it.

    Attributes:
        sinks: As given.
        timer: Of the thread.
        bounds: The colour range of the last frame, in the unit of the depth; None before any.
    """

    def __init__(
        self,
        name: str,
        info: VideoInfo,
        sinks: Sequence[Sink],
        colours: ColourRange | None,
        resize: Resize,
        model_size: tuple[int, int],
        palette: str,
        *,
        marked: bool = False,
    ) -> None:
        self.sinks = sinks
        self.timer = StageTimer(f"writing {name}")
        for sink in sinks:
            sink.moves = self.timer.lap
        self.bounds: tuple[float, float] | None = None
        self._draws = {name for sink in sinks for name in sink.draws}
        self._colours, self._palette = colours, palette
        self._marked = marked and colours is not None
        if self._marked:
            self._draws.add(DYNAMIC)
        self._resize: Resize = resize
        self._prepare(info.height, info.width)
        self._free = [_Kept(np.empty(model_size, np.float32), {}) for _ in range(_WAITING + 1)]
        self._queue: deque[tuple[SourceFrame, _Kept]] = deque()
        self._changed = Condition()
        self._end = self._over = False
        self._written = 0
        self._at: Sink | None = None  # the sink that a frame is being written to
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name=self.timer.name, daemon=True)
        self._thread.start()

    def put(self, frame: SourceFrame, result: StreamDepth, interrupt: Interruptible) -> None:
        """Have a frame written. Waits while the outputs are behind; after an interrupt only for as long as they move.

        Args:
            frame: Of the source.
            result: What the network gave for it; its depth, and the outputs that sinks draw, are copied.
            interrupt: Whether one came.

        Raises:
            WorkError: Where the outputs stand still after an interrupt.
            Exception: Whatever went wrong with the outputs so far.
        """
        with self._changed:
            self._wait(lambda: bool(self._free or self._error), interrupt)
            if self._error is not None:
                raise self._error
            kept = self._free.pop()
        kept.take(result, self._draws)
        with self._changed:
            self._queue.append((frame, kept))
            self._changed.notify_all()

    def finish(self, interrupt: Interruptible) -> None:
        """Wait until everything is written, then close the sinks. Raises as `put` does."""
        with self._changed:
            self._end = True
            self._changed.notify_all()
            self._wait(lambda: not self._thread.is_alive() or self._over, interrupt)
        self._thread.join()
        if self._error is not None:
            raise self._error
        with self.timer:
            for sink in self.sinks:
                sink.close()

    def rescue(self) -> list[str]:
        """After an error: close the sinks that can be closed. Returns a line for each output that is not whole."""
        self.stop()
        stuck = self._at if self._thread.is_alive() else None
        lines = []
        if stuck is not None:
            lines = [f"{stuck.name}: stands still, and is left as it is"]
            for sink in self.sinks:  # what closes now does not say that the one that stands still goes on
                sink.moves = lambda: None
        return lines + [line for sink in self.sinks if sink is not stuck and (line := _closed(sink)) is not None]

    def stop(self) -> None:
        """Have the thread end when all frames put so far are written; where that stands still, leave it behind."""
        with self._changed:
            self._end = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE)

    def _wait(self, ready: Callable[[], bool], interrupt: Interruptible) -> None:
        """Wait for `ready`. Raises WorkError when an interrupt came and no frame gets written for seconds."""
        written, patience = self._written, _PATIENCE
        while not self._changed.wait_for(ready, _LOOK):
            patience = patience - _LOOK if interrupt.pressed and written == self._written else _PATIENCE
            written = self._written
            if patience <= 0:
                raise WorkError(f"{self.timer.name} stands still; given up")

    def _run(self) -> None:
        _give_way()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._end)
                    if not self._queue:
                        return
                    frame, kept = self._queue.popleft()
                with self.timer:
                    self._write(frame, kept)
                with self._changed:
                    self._written += 1
                    self._free.append(kept)
                    self._changed.notify_all()
        except BaseException as error:  # raised by `put` and `finish`, in the thread that can do something about it
            with self._changed:
                self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _prepare(self, height: int, width: int) -> None:
        """Make room for depth and colour of frames of that size, at the sizes that the sinks read: no other is made."""
        self._size = height, width
        depths, colours = self._sizes(self.sinks)
        self._depths = {size: np.empty(size, np.float32) for size in depths | colours}
        self._pictures = {size: np.empty((*size, 3), np.uint8) for size in colours}
        self._bring_back = {size: DepthResizer(self._resize) for size in self._depths}
        self._marks = {size: MovingMarks(*size, self._resize) for size in colours} if self._marked else {}

    def _sizes(self, sinks: Iterable[Sink]) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """The heights and widths at which some sinks read depth, and colours."""
        return (
            {self._size for sink in sinks if sink.wants_depth},
            {sink.colour_size(*self._size) for sink in sinks if sink.wants_colour},
        )

    def _write(self, frame: SourceFrame, kept: _Kept) -> None:
        size = frame.image.shape[:2]
        if size != self._size:
            self._prepare(*size)
        watched = [sink for sink in self.sinks if sink.watched]
        depths, colours = self._sizes(watched)
        for at in depths | colours:
            self._bring_back[at](kept.depth, self._depths[at])
        if self._colours is not None:
            if frame.discontinuity:
                self._colours.restart()
            finite = bool(np.isfinite(kept.depth.flat[0]))  # where the network fails, all of it is NaN
            if finite:
                self.bounds = self._colours.update(kept.depth, frame.time)
            for at in colours:
                picture = self._pictures[at]
                if finite and self.bounds is not None:
                    colourise(self._depths[at], *self.bounds, out=picture, palette=self._palette)
                    if self._marked:
                        self._marks[at].draw(picture, kept.outputs[DYNAMIC])
                else:
                    picture.fill(NO_DEPTH)
        for sink in self.sinks:
            self._at = sink
            if sink not in watched:
                sink.pass_by(frame)
                continue
            depth = self._depths[size] if sink.wants_depth else _UNREAD_DEPTH
            colour = self._pictures[sink.colour_size(*size)] if sink.wants_colour else _UNREAD_COLOUR
            sink.write(frame, depth, colour, kept.outputs)
        self._at = None


def _give_way() -> None:
    """Let this thread, and those that an encoder starts from it, have what the network leaves of the cores.

    A step waits for its slowest thread: one that has to share its core holds up all of them. What waits here is bounded
    all the same: once the queue is full the network stands still. So this is no more than a step aside: much lower, any
    other process on the machine would hold up the writing, and with it the network.
    """
    if sys.platform == "linux":  # elsewhere priorities are of whole processes
        thread = get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _NICER))


def _closed(sink: Sink) -> str | None:
    """Close a sink; what went wrong with that, if anything did."""
    try:
        sink.close()
    except (WorkError, OSError) as error:
        return str(error)
    return None
