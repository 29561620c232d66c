"""A source read in a thread of its own: files ahead of the network, live sources as they come."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import Condition, Thread
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.rectifier import Rectifier
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.resize import resize_frame
from vmdepth_runtime.sources.base import Source, SourceFrame
from vmdepth_runtime.stage_timer import StageTimer

_AHEAD = 4  # frames of a file that are decoded before they are needed


class PreparedFrame(NamedTuple):
    """A frame of a source, and the same picture at the model's size: resized, uint8 `[h, w, 3]`."""

    frame: SourceFrame
    resized: NDArray[np.uint8]


class FrameReader:
    """Reads a source in a thread and resizes its frames for the model, while that is at work on earlier ones.

    A file waits until its frames are taken: every one is. Of a live source only the newest frame is kept: what nobody
    took in time is dropped and counted.

    Args:
        source: Iterated once, in the thread.
        model_size: Height and width that frames are resized to.
        resize: How.
        changed: Shared by readers that are waited for together; notified whenever one of them changes.
        rectify: What frames go through first, where their camera's distortion is to be undone.

    Attributes:
        source: As given.
        changed: As given, or one of its own.
        dropped: Frames of a live source that nobody took in time.
        ended: Whether nothing more will come.
        timer: Of the thread.
    """

    def __init__(
        self,
        source: Source,
        model_size: tuple[int, int],
        resize: Resize = "area",
        changed: Condition | None = None,
        rectify: Rectifier | None = None,
    ) -> None:
        self.source = source
        self.changed = changed or Condition()
        self.dropped = 0
        self.ended = False
        self.timer = StageTimer(f"reading {source.name}")
        self._model_size, self._resize, self._rectify = model_size, resize, rectify
        self._frames: deque[PreparedFrame] = deque()
        self._stopped = False
        # Of a live source so many are to come out as were asked for, whatever is dropped.
        self._wanted = source.wanted
        source.wanted = None
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name=self.timer.name, daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give or to raise."""
        return bool(self._frames) or self._error is not None

    def take(self) -> PreparedFrame | None:
        """The next frame; None where there is none now. Raises what went wrong in the thread, once all are taken."""
        with self.changed:
            if self._frames:
                taken = self._frames.popleft()
                if self._wanted is not None:
                    self._wanted -= 1
                    if self._wanted == 0:
                        self.ended = self._stopped = True
                self.changed.notify_all()
                return taken
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        """Stop reading. A source that waits in a library for what never comes is left to the end of the process."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
        self.source.stop()
        self._thread.join(timeout=1.0)
        if self._thread.is_alive():
            self.source.abandoned = True
        else:
            self.source.close()

    def _run(self) -> None:
        try:
            frames = iter(self.source)
            while not self._stopped:
                with self.timer:
                    frame = next(frames, None)
                    if frame is None:
                        break
                    if self._rectify is not None:
                        frame = replace(frame, image=self._rectify(frame.image))
                    resized = np.empty((*self._model_size, 3), np.uint8)
                    resize_frame(frame.image, resized, self._resize)
                self._hand_over(frame, resized)
        except BaseException as error:  # raised by `take`, in the thread that can do something about it
            self._error = error
        finally:
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def _hand_over(self, frame: SourceFrame, resized: NDArray[np.uint8]) -> None:
        with self.changed:
            if self._stopped:
                return
            if self.source.live:
                # A discontinuity must not get lost with the frame that said so.
                discontinuity = any(dropped.frame.discontinuity for dropped in self._frames)
                self.dropped += len(self._frames)
                self._frames.clear()
                if discontinuity and not frame.discontinuity:
                    frame = replace(frame, discontinuity=True)
            else:
                self.changed.wait_for(lambda: len(self._frames) < _AHEAD or self._stopped)
            self._frames.append(PreparedFrame(frame, resized))
            self.changed.notify_all()
