"""What can be chosen about sources."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmdepth_runtime.errors import InputError

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)s?")


@dataclass(frozen=True)
class LiveSettings:
    """How a live source is held on to.

    ```python
    from vmdepth_runtime import LiveSettings, open_source

    with open_source("demo", LiveSettings(retries=10)) as source:  # or "rtsp://camera/stream", which is live
        print(source.live)
    ```

    Attributes:
        retries: How often in a row it is opened again; None: for ever.
        max_gap: Seconds without a frame after which the next one is a discontinuity, of recordings of robots as well.
        stall: Seconds without a frame after which it counts as lost.
    """

    retries: int | None = None
    max_gap: float = 2.0
    stall: float = 5.0


@dataclass(frozen=True)
class ReadSettings:
    """Which frames of a source are taken, and what a folder of images is.

    ```python
    from vmdepth_runtime import ReadSettings, open_source

    with open_source("demo", read=ReadSettings(start="1.5s", frames=3, every=2)) as source:
        print([frame.index for frame in source])
    ```

    Attributes:
        images: Whether a folder or pattern of images holds pictures that have nothing to do with each other (True), or
            the frames of one video (False); None: pictures where their sizes differ.
        start: The first frame that is taken: its place in the source, from 0, or its time as in "12.5s", "1:30".
        frames: How many are taken at most; None: all.
        every: One of so many is taken.
        fps: Images per second, and frames of a stream without times; None: 30, and what the stream says.
        topic: Of a recording of a robot, whose pictures are taken; None: the only one.
    """

    images: bool | None = None
    start: int | str = "0"
    frames: int | None = None
    every: int = 1
    fps: float | None = None
    topic: str | None = None

    def __post_init__(self) -> None:
        start_of(self.start)
        if self.every < 1 or (self.frames is not None and self.frames < 1):
            raise InputError("--frames and --every are 1 or more")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise InputError(f"--fps {self.fps:g}: is above 0 and at most 1000")


def start_of(start: int | str) -> tuple[int, float | None]:
    """A place in a source, or a time in it: (place, None) or (0, seconds).

    Raises:
        InputError: it is neither.
    """
    text = str(start)
    if text.isdecimal():
        return int(text), None
    clock = _CLOCK.fullmatch(text)
    if clock is None or not re.search(r"[s:]", text):
        raise InputError(f"--start {text}: is a frame's number, or a time such as 12.5s or 1:30")
    hours, minutes, seconds = (float(part or 0) for part in clock.groups())
    return 0, hours * 3600 + minutes * 60 + seconds
