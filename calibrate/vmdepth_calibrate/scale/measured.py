"""Pictures with the depth that was measured of them, in whatever form they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmdepth.data.rgbd import CAMERAS, RgbdFolder, RgbdFrame, same_places
from vmdepth_calibrate.scale.settings import ScaleSettings
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.listing import is_recording
from vmdepth_runtime.sources.open import open_source
from vmdepth_runtime.sources.recordings.open import recorded_depth
from vmdepth_runtime.sources.settings import ReadSettings

_INSTEAD = f"name a folder with rgb/, depth/ and {CAMERAS}, or a recording of a robot (.mcap, a rosbag2 folder)"
APART = 20  # milliseconds between a picture and a measurement of the same in a recording, at most


@dataclass(frozen=True)
class Measured:
    """Sequences of pictures with measured depth, each to be streamed from initial states on.

    frames: how many there are of all; None where nobody knows before they are read.
    """

    sequences: Sequence[Iterable[RgbdFrame]]
    frames: int | None


def open_measured(settings: ScaleSettings, size: tuple[int, int]) -> Measured:
    """What `settings.data` stands for.

    size: height and width of rendered clips, pixels. Raises InputError, naming it, for what is none of it.
    """
    data, path = settings.data, Path(settings.data)
    if is_recording(path):
        if not path.exists():
            raise InputError(f"{data}: no such recording; {_INSTEAD}")
        return Measured([_Recording(settings)], None)
    for option, topic in (("--topic", settings.topic), ("--depth-topic", settings.depth_topic)):
        if topic is not None:
            raise InputError(f"{option} {topic}: is of recordings of robots, and {data} is none; leave it out")
    if any((path / part).exists() for part in (CAMERAS, "rgb", "depth")):
        folder = RgbdFolder(path)
        return Measured([folder], len(folder))
    if path.exists() and not any((place / "depth").is_dir() for level in ("*", "*/*") for place in path.glob(level)):
        raise InputError(f"{data}: has no measured depth; {_INSTEAD}")
    from vmdepth.evaluation.sequences import HeldOut, Scenes, open_data  # which takes torch

    found = open_data(data)
    clips = found.folders if isinstance(found, Scenes) else found.sequences(*size) if isinstance(found, HeldOut) else []
    return Measured(clips, sum(map(len, clips)))


@dataclass(frozen=True)
class _Recording:
    """Pictures of a recording and the depth that was measured with each; of those without any no pixel is known."""

    settings: ScaleSettings

    def __iter__(self) -> Iterator[RgbdFrame]:
        path, topic, near = Path(self.settings.data), self.settings.topic, APART * 1_000_000
        measured = recorded_depth(path, self.settings.depth_topic, pictures=topic)
        with closing(measured), open_source(str(path), read=ReadSettings(topic=topic)) as source:
            next_one = next(measured, None)
            for frame in source:
                depth = np.zeros((1, 1), np.float32)
                while next_one is not None and frame.stamp is not None and next_one[0] <= frame.stamp + near:
                    if next_one[0] >= frame.stamp - near:
                        depth = np.nan_to_num(next_one[1], nan=0.0, posinf=0.0)
                    next_one = next(measured, None)
                yield RgbdFrame(frame.image, depth, same_places(depth.shape, frame.image.shape), None)
