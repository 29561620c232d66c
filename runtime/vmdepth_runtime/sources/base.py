"""Where frames come from: `open_source` and what every source gives."""

from __future__ import annotations

import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.settings import LiveSettings
from vmdepth_runtime.sources.uri import NETWORK, camera_of, redacted, scheme_of

_KEPT = 1000  # warnings and skipped frames that are told one by one: a camera may run for weeks


@dataclass(frozen=True)
class SourceFrame:
    """One frame. index: its place in the source, counting skipped frames too. time: seconds after the first frame, as
    the source says. image: uint8 `[H, W, 3]` RGB, contiguous, upright. fresh: it has nothing to do with the frames
    before (a gap, another size), so the stream starts anew. arrived: `perf_counter` when it was in memory."""

    index: int
    time: float
    image: NDArray[np.uint8]
    fresh: bool = False
    arrived: float = field(default_factory=perf_counter, compare=False)


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
    """Frames in order, once. All have the size that `info` says.

    Attributes: name, safe to print; live, whether frames come by themselves and are lost if nobody takes them; info;
    skipped, the frames left out so far, skipped_count of them; warnings, one line each, what else went wrong so far;
    tell, called with each warning at once, from the thread that reads; abandoned, whether a thread is stuck in reading
    it, so that it must not be closed.
    """

    live: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.info: VideoInfo  # known once the first frame has been read
        self.skipped: list[Skipped] = []
        self.skipped_count = 0
        self.warnings: list[str] = []
        self.tell: Callable[[str], None] = _keep_quiet
        self.abandoned = False
        self._size: tuple[int, ...] = ()

    @property
    @abstractmethod
    def seekable(self) -> bool:
        """Whether frames can be looked at out of order, as `sample` does."""

    @abstractmethod
    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames that can be read. What is wrong with the others goes to `skipped` and `warnings`."""

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        """Up to `count` frames spread evenly over the whole source, uint8 `[H, W, 3]` RGB, without disturbing the
        iteration. Fewer where some cannot be read; none when the source is not seekable."""
        return []

    def stop(self) -> None:
        """From another thread: end the iteration soon, where it waits for something."""
        return

    def close(self) -> None:
        """Let go of what is open."""
        return

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.abandoned:
            self.close()

    def _skip(self, index: int, name: str, reason: str) -> None:
        self.skipped_count += 1
        if len(self.skipped) < _KEPT:
            self.skipped.append(Skipped(index, name, reason))

    def _warn(self, line: str) -> None:
        if len(self.warnings) < _KEPT:
            self.warnings.append(line)
        self.tell(line)

    def _at_one_size(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
        """A video's picture at the size that `info` says, and whether its size has just changed."""
        size, self._size = self._size, image.shape[:2]
        changed = bool(size) and size != self._size
        wanted = (self.info.width, self.info.height)
        if changed:
            height, width = self._size
            self._warn(
                f"{self.name} is {width}x{height} from here on: the stream starts anew, scaled to {wanted[0]}x"
                f"{wanted[1]}"
            )
        if self._size == wanted[::-1]:
            return image, changed
        return np.asarray(cv2.resize(image, wanted, interpolation=cv2.INTER_AREA), np.uint8), changed


def _keep_quiet(line: str) -> None:
    return


def open_source(source: str | Path, live: LiveSettings | None = None) -> Source:
    """Open a source and read its first frame.

    source: a video file, a folder of images, a pattern of image files ("frames/*.png", "frames/%06d.png"), a pipe such
    as /dev/stdin; a camera ("0", "/dev/video0", "v4l2:///dev/video0", "csi://0"); a network stream (rtsp, rtmp, http);
    "demo" is the bundled clip. Raises InputError, naming the source and what to do, when nothing can be read from it.
    """
    from vmdepth_runtime.sources.folder import FolderSource, files_of_pattern
    from vmdepth_runtime.sources.live import open_camera, open_network
    from vmdepth_runtime.sources.video import VideoSource

    uri, settings = str(source), live or LiveSettings()
    scheme, camera = scheme_of(uri), camera_of(uri)
    if scheme in NETWORK:
        return open_network(uri, settings)
    if camera is not None or scheme == "csi":
        return open_camera(uri, camera, settings)
    if scheme is not None and scheme != "file":
        known = ", ".join(f"{name}://" for name in (*NETWORK, "v4l2", "csi", "file"))
        raise InputError(f"{redacted(uri)}: unknown scheme '{scheme}://'; there are {known}, and plain paths")
    path = bundled.CLIP if uri == "demo" else Path(uri.removeprefix("file://"))
    try:
        status = path.stat()
    except OSError as error:
        files = files_of_pattern(path)
        if files is not None:
            return FolderSource(path, files)
        missing = isinstance(error, FileNotFoundError)
        what = "no such file or folder" if missing else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {what}; give a video, a folder of images, a camera or an address") from None
    if stat.S_ISDIR(status.st_mode):
        return FolderSource(path)
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty; copy or record it again")
    return VideoSource(path, seekable=stat.S_ISREG(status.st_mode))
