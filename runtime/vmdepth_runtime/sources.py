"""Where frames come from: `open_source` and what every source gives."""

from __future__ import annotations

import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class SourceFrame:
    """One frame. index: its place in the source, counting skipped frames too. time: seconds after the first frame, as
    the source says. image: uint8 `[H, W, 3]` RGB, contiguous, upright."""

    index: int
    time: float
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What is known before reading. width, height: pixels of every frame, upright. frames: how many the source
    promises, None when it does not say. fps: nominal frames per second. time_base: seconds; every frame time is a
    multiple of it."""

    width: int
    height: int
    frames: int | None
    fps: float
    time_base: Fraction


@dataclass(frozen=True)
class Skipped:
    """A frame that could not be used. index: its place in the source. name: the file, or the place in the video.
    reason: what is wrong with it."""

    index: int
    name: str
    reason: str

    def __str__(self) -> str:
        return f"frame {self.index} ({self.name}): {self.reason}"


class Source(ABC):
    """Frames in order, once. All have the size that `info` says: a frame of another size is skipped, because states
    and outputs of one size cannot go on with another.

    Attributes: path; info; skipped, the frames left out so far; warnings, one line each, what else went wrong so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: VideoInfo  # known once the first frame has been read
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []

    @property
    @abstractmethod
    def seekable(self) -> bool:
        """Whether frames can be looked at out of order, as `sample` does."""

    @abstractmethod
    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames that can be read. What is wrong with the others goes to `skipped` and `warnings`."""

    @abstractmethod
    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        """Up to `count` frames spread evenly over the whole source, uint8 `[H, W, 3]` RGB, without disturbing the
        iteration. Fewer where some cannot be read; none when the source is not seekable."""

    def close(self) -> None:
        """Let go of what is open."""
        return

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _right_size(self, index: int, name: str, image: NDArray[np.uint8]) -> bool:
        height, width = image.shape[:2]
        if (width, height) == (self.info.width, self.info.height):
            return True
        reason = f"is {width}x{height}, the first frame was {self.info.width}x{self.info.height}"
        self.skipped.append(Skipped(index, name, reason))
        return False


def open_source(path: str | Path) -> Source:
    """Open a video file, a folder of images, or a pipe such as /dev/stdin, and read its first frame.

    "demo" is the bundled clip. Raises InputError, naming the file and what to do, when nothing can be read from it.
    """
    from vmdepth_runtime.folder import FolderSource
    from vmdepth_runtime.video import VideoSource

    path = bundled.CLIP if str(path) == "demo" else Path(path)
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = "no such file or folder" if missing else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {what}; give a video file or a folder of images") from None
    if stat.S_ISDIR(status.st_mode):
        return FolderSource(path)
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty; copy or record it again")
    return VideoSource(path, seekable=stat.S_ISREG(status.st_mode))
