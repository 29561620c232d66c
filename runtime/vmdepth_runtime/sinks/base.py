"""What every output is: takes frames with their depth, and stands under its name only when it is whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import av
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo


@dataclass(frozen=True)
class PinholeCamera:
    """Focal lengths and principal point in pixels of the source's frames."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class SinkFacts:
    """What an output may have to know. info: of the source. depth_kind: of the model. near: a depth that is about as
    large as any seen before, or None. side_by_side: whether a video shows the source too. camera: for point clouds.
    status: figures of the run at any time, for pages."""

    info: VideoInfo
    depth_kind: Literal["relative", "metric"] | str = "relative"
    near: float | None = None
    side_by_side: bool = True
    camera: PinholeCamera | None = None
    status: Callable[[], dict[str, Any]] = dict


class Sink(ABC):
    """Takes frames with their depth. `close` finishes the output; leaving the `with` block by an exception aborts it.

    Attributes: name; notes, one line each, what about the output is not as the source was; frames, how many it took.
    """

    wants_colour: ClassVar[bool]

    def __init__(self, name: str) -> None:
        self.name = name
        self.notes: list[str] = []
        self.frames = 0

    def write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        """frame: of the size that the source's info says. depth: float32 `[H, W]`, all NaN where there is none.
        colour: uint8 `[H, W, 3]` RGB, read only where the sink `wants_colour`. Raises WorkError when it cannot be
        written."""
        with writing(self.name):
            self._write(frame, depth, colour)
        self.frames += 1

    @abstractmethod
    def close(self) -> None:
        """Finish. Raises WorkError."""

    def abort(self) -> None:
        """Give up."""
        self.close()

    @abstractmethod
    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None: ...

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class FileSink(Sink):
    """One file. `close` gives it its name, in place of what was there; `abort` leaves nothing behind, as does a sink
    that was given no frame. Where it cannot be finished, what can be read of it is kept under another name."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self._part = part_name(path)
        self._open = True

    def close(self) -> None:
        if not self._open:
            return
        if self.frames == 0:
            self.abort()
            return
        try:
            with writing(self.path):
                self._finish()
                self._part.replace(self.path)
        except WorkError as error:
            self._open = False
            kept = self._salvage()
            if not (kept.exists() and kept.stat().st_size):
                kept.unlink(missing_ok=True)
                self.frames = 0
                raise
            self.name = str(kept)
            raise WorkError(f"{error}; what was written before is in {kept}") from None
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Remove what was written so far."""
        if self._open:
            self._open = False
            self._drop()
            self._part.unlink(missing_ok=True)

    def _salvage(self) -> Path:
        """Keep what is there, though it could not be finished, where nobody takes it for the whole."""
        self._drop()
        return renamed(self._part, self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}"))

    @abstractmethod
    def _finish(self) -> None:
        """Make `self._part` complete."""

    @abstractmethod
    def _drop(self) -> None:
        """Let go of whatever is open, without an error."""


@contextmanager
def writing(name: str | Path) -> Iterator[None]:
    """What goes wrong with a file or pipe in this block becomes a WorkError that names it."""
    try:
        yield
    except BrokenPipeError:
        raise WorkError(f"{name}: whoever read it has gone away") from None
    except (OSError, av.FFmpegError) as error:
        raise WorkError(f"{name}: cannot be written ({error.strerror or error}); is the disk full?") from None


def renamed(path: Path, name: Path) -> Path:
    """A file under a new name; under its old one where that cannot be."""
    try:
        return path.replace(name)
    except OSError:
        return path
