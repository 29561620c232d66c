"""What every source is, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from time import perf_counter
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.sources.sound import Sound
from vmdepth_runtime.stage_timer import StageTimer

MIN_SIDE = 14  # pixels; in a smaller frame there is nothing to see
FRAME_ID = "camera"
_KEPT = 1000  # warnings and skipped frames that are told one by one: a camera may run for weeks


@dataclass(frozen=True)
class SourceFrame:
    """One frame.

    ```python
    import numpy as np
    from vmdepth_runtime import SourceFrame

    SourceFrame(index=0, time=0.0, image=np.zeros((480, 640, 3), np.uint8))
    ```

    Attributes:
        index: its place in the source, counting skipped frames too.
        time: seconds after the first frame, as the source says.
        image: uint8 `[H, W, 3]` RGB, contiguous, upright.
        discontinuity: it does not continue the frames before (a gap, another size, a picture on its own): the stream's
            states restart.
        arrived: `perf_counter` when it was in memory.
        name: of a picture on its own, what its outputs are named after, unlike that of any other of its source; of
            other frames empty.
        stamp: nanoseconds since 1970 at which the camera took it, where the source says; of other live sources at which
            it came; else None.
    """

    index: int
    time: float
    image: NDArray[np.uint8]
    discontinuity: bool = False
    arrived: float = field(default_factory=perf_counter, compare=False)
    name: str = ""
    stamp: int | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a source before it is read, or of those frames of it that are taken.

    ```python
    from fractions import Fraction
    from vmdepth_runtime import VideoInfo

    VideoInfo(width=640, height=480, frames=None, fps=30.0, time_base=Fraction(1, 90_000))
    ```

    Attributes:
        width: pixels of every frame, upright.
        height: likewise.
        frames: how many the source promises; None when it does not say.
        fps: nominal frames per second.
        time_base: seconds; every frame time is a multiple of it.
        begin: time of the first frame in seconds, where frames before it are left out as was asked for. A video of
            what is taken begins there.
        about: how many frames there are more or less, where it says how long it lasts and no count.
    """

    width: int
    height: int
    frames: int | None
    fps: float
    time_base: Fraction
    begin: float = 0.0
    about: int | None = None


@dataclass(frozen=True)
class Skipped:
    """A frame that could not be used.

    Attributes:
        index: its place in the source.
        name: its file, or its place in the video.
        reason: what is wrong with it.
    """

    index: int
    name: str
    reason: str

    def __str__(self) -> str:
        return f"frame {self.index} ({self.name}): {self.reason}"


class Source(ABC):
    """Frames in order, once. All have the size that `info` says, unless they are `pictures`.

    Args:
        name: of the source, safe to print.

    Attributes:
        name: likewise.
        live: whether frames come by themselves, and are lost if nobody takes them.
        pictures: whether each frame stands on its own: of any size, with a name, and a discontinuity.
        tells_jumps: whether a `discontinuity` says wherever frames do not continue those before, as a camera films
            without cuts.
        wanted: of a live source, how many frames it gives at most; None: no limit. Who drops some counts by himself.
        info: known once the source is open; of pictures it is the first one's.
        skipped: the first thousand frames left out.
        skipped_count: how many were left out.
        warnings: what else went wrong, a line each, the first thousand.
        notes: what was done to its frames so that they are ordinary ones, a line each.
        losses: how often a live one was lost; 0 of others.
        timer: of a source that times its own reading; None leaves that to whoever reads it.
        tell: called with each warning at once, from the thread that reads.
        abandoned: whether a thread is stuck in reading it, so that it must not be closed.
        lens: of its camera, where the source itself says; else None.
        refused_lens: why what it says of its camera is not taken; empty where it says nothing, or that is taken.
        frame_id: what its camera is called in a robot, where the source says; else "camera".
    """

    live: ClassVar[bool] = False
    tells_jumps: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.pictures = False
        self.wanted: int | None = None
        self.info: VideoInfo  # known once the first frame has been read
        self.skipped: list[Skipped] = []
        self.skipped_count = 0
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.losses = 0
        self.timer: StageTimer | None = None
        self.tell: Callable[[str], None] = _keep_quiet
        self.abandoned = False
        self.lens: Lens | None = None
        self.refused_lens = ""
        self.frame_id = FRAME_ID
        self._size: tuple[int, ...] = ()

    @property
    @abstractmethod
    def seekable(self) -> bool:
        """Whether frames can be looked at out of order, as `sample` does."""

    @property
    def sound(self) -> Sound | None:
        """What is heard beside the pictures, for outputs that can keep it; None where there is none."""
        return None

    @abstractmethod
    def __iter__(self) -> Iterator[SourceFrame]:
        """The frames that can be read; what is wrong with the others goes to `skipped` and `warnings`."""

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        """Look at frames spread evenly over what is taken of the source, without disturbing the iteration.

        Args:
            count: how many.

        Returns:
            uint8 `[H, W, 3]` RGB each. Fewer where some cannot be read; none of pictures and of what is not seekable.
        """
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
