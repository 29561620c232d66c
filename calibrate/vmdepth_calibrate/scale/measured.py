"""Pictures with the depth that was measured of them, in whatever form they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from vmdepth.data.rgbd import CAMERAS, RgbdFolder, RgbdFrame, folders_below, same_places
from vmdepth_calibrate.scale.settings import ScaleSettings
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.depth.scale.nearest import Nearest
from vmdepth_runtime.depth.scale.shapes import check_shapes
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.listing import is_recording
from vmdepth_runtime.sources.open import open_source
from vmdepth_runtime.sources.recordings.open import recorded_depth
from vmdepth_runtime.sources.settings import ReadSettings

_INSTEAD = (
    f"name a folder with rgb/, depth/ and {CAMERAS}, a folder of such, or a recording of a robot (.mcap, a rosbag2 "
    "folder)"
)
_UNKNOWN = np.zeros((1, 1), np.float32)


@dataclass(frozen=True)
class Measured:
    """Sequences of pictures with measured depth, each to be streamed from initial states on.

    frames: how many there are of all; None where nobody knows before they are read.
    """

    sequences: Iterable[Iterable[RgbdFrame]]
    frames: int | None

    @property
    def at_edges(self) -> int:
        """How many depths of those read were left out because they lie at an edge."""
        lists = self.sequences if isinstance(self.sequences, (list, tuple)) else []
        return sum(sequence.at_edges for sequence in lists if isinstance(sequence, RgbdFolder))


def open_measured(settings: ScaleSettings, size: tuple[int, int], warn: Callable[[str], None]) -> Measured:
    """What `settings.data` stands for.

    size: height and width of rendered clips, pixels. warn: gets a line on what of it cannot be read. Raises InputError,
    naming it, for what is none of it.
    """
    data, path = settings.data, Path(settings.data)
    if is_recording(path):
        if not path.exists():
            raise InputError(f"{data}: no such recording; {_INSTEAD}")
        return Measured(_Recording(settings, warn), None)
    given = {"--topic": settings.topic, "--depth-topic": settings.depth_topic, "--camera": settings.camera}
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option} {value}: is of recordings of robots, and {data} is none; leave it out")
    if data.partition(":")[0] == "rendered":
        from vmdepth.evaluation.sequences import HeldOut, open_data  # which takes torch

        found = open_data(data)
        assert isinstance(found, HeldOut)
        clips = found.sequences(*size)
        return Measured(clips, sum(map(len, clips)))
    if not path.exists():
        raise InputError(f"{data}: no such folder; {_INSTEAD}")
    is_one = any((path / part).exists() for part in (CAMERAS, "rgb", "depth"))
    folders = [RgbdFolder(place) for place in ([path] if is_one else folders_below(path))]
    if not folders:
        raise InputError(f"{data}: has no measured depth; {_INSTEAD}")
    return Measured(folders, sum(map(len, folders)))


@dataclass(frozen=True)
class _Recording:
    """Pictures of a recording and the depth that was measured with each; of those without any no pixel is known. Where
    they do not continue those before, another sequence begins."""

    settings: ScaleSettings
    warn: Callable[[str], None]

    def __iter__(self) -> Iterator[Iterator[RgbdFrame]]:
        for _, part in groupby(self._frames(), itemgetter(0)):
            yield (frame for _, frame in part)

    def _frames(self) -> Iterator[tuple[int, RgbdFrame]]:
        """Each with the number of its sequence."""
        path, topic, number = Path(self.settings.data), self.settings.topic, 0
        measured = recorded_depth(
            path, self.settings.depth_topic, pictures=topic, lens=Lens.of(intrinsics=self.settings.camera)
        )
        try:
            with closing(measured), open_source(str(path), read=ReadSettings(topic=topic)) as source:
                nearest = Nearest(measured)
                for frame in source:
                    depth = None if frame.stamp is None else nearest.at(frame.stamp)
                    if depth is not None:
                        check_shapes(depth.shape, frame.image.shape, self.settings.depth_topic or str(path))
                    depth = _UNKNOWN if depth is None else np.nan_to_num(depth, nan=0.0, posinf=0.0)
                    number += frame.discontinuity
                    yield number, RgbdFrame(frame.image, depth, same_places(depth.shape, frame.image.shape), None)
        finally:
            if told := measured.damage():
                self.warn(told)
