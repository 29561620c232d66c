"""Plain footage with a teacher's depth in place of a measured one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.data.rgbd import RgbdFrame, same_places
from vmdepth.data.videos import Video, find_videos
from vmdepth.evaluation.alignment import inverse_of
from vmdepth.evaluation.array_file import ArrayFile
from vmdepth.offline import OfflineNetwork
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import SKY_THRESHOLD

_SIDE = 518  # pixels of a picture's shorter side; no teacher sees more
_AT_ONCE = 16  # frames decoded together
_NOTHING = 1e-6  # of the median inverse depth: no more than this is the sky


class TaughtVideo:
    """A video whose frames have the depth of a teacher that sees all of them, asked once, when they are first gone
    through. Pictures larger than teachers look at come at a shorter side of 518 pixels.

    Depth is in metres where the teacher's is; else its median over the video is 1. Sky is infinitely far, as is
    inverse depth of 0. Raises InputError where a frame cannot be read.
    """

    def __init__(self, video: Video, teacher: OfflineNetwork) -> None:
        self.name = video.name
        self._video, self._teacher = video, teacher
        rows, columns = video.read([0]).images.shape[1:3]
        scale = min(1.0, _SIDE / min(rows, columns))
        self.size = round(rows * scale), round(columns * scale)
        self._depths: ArrayFile | None = None

    def __len__(self) -> int:
        return len(self._video)

    def __iter__(self) -> Iterator[RgbdFrame]:
        if self._depths is None:
            self._depths = self._ask()
        places = same_places(self.size, self.size)
        for (image, moving), depth in zip(self._pictures(), self._depths, strict=True):
            yield RgbdFrame(image, depth, places, None, moving=moving)

    def _pictures(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_] | None]]:
        """Every picture at the video's size, and what moves in it, where there are masks."""
        height, width = self.size
        for first in range(0, len(self), _AT_ONCE):
            footage = self._video.read(range(first, min(first + _AT_ONCE, len(self))))
            masks = [None] * len(footage.images) if footage.moving is None else footage.moving
            for image, moving in zip(footage.images, masks, strict=True):
                if image.shape[:2] != self.size:
                    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
                if moving is not None and moving.shape != self.size:
                    nearest = cv2.INTER_NEAREST_EXACT
                    moving = cv2.resize(moving.view(np.uint8), (width, height), interpolation=nearest).view(bool)
                yield image, moving

    def _ask(self) -> ArrayFile:
        session = self._teacher.session(self.size)
        inverses, depths, kind = ArrayFile(), ArrayFile(), kind_of(self._teacher)
        session.begin((image, False) for image, _ in self._pictures())
        for _ in range(len(self)):
            said = session.step()
            inverse = inverse_of(said["depth"][0], kind)
            inverses.append(np.where(said["sky"][0] >= SKY_THRESHOLD, 0, inverse) if "sky" in said else inverse)
        middle = 1.0 if kind.unit else _middle(inverses)
        for inverse in inverses:
            seen = inverse > _NOTHING * middle
            depths.append(np.where(seen, middle / np.where(seen, inverse, 1), np.inf).astype(np.float32))
        return depths


def _middle(inverses: Iterable[NDArray[np.float32]]) -> float:
    """The median over frames of the median of what is not infinitely far; 1 where all is."""
    medians = [np.median(inverse[inverse > 0]) for inverse in inverses if (inverse > 0).any()]
    return float(np.median(medians)) if medians else 1.0


def kind_of(teacher: OfflineNetwork) -> DepthKind:
    """Of a teacher's depth; nobody knows the camera of plain footage, which some need for metres."""
    return DEPTH_KINDS[teacher.model.depth_kind if teacher.model.metric_focal is None else "scaled"]


def open_footage(path: Path, teacher: Path) -> tuple[list[TaughtVideo], DepthKind]:
    """Every video at a path with the teacher's depth, and the kind of that.

    Args:
        path: a video, a folder of pictures, or a folder of such.
        teacher: a checkpoint.

    Raises:
        InputError: where there is no footage, where it has depth of its own, and for what is no checkpoint.
    """
    videos = find_videos(path)
    measured = next((video for video in videos if video.labelled), None)
    if measured is not None:
        raise InputError(f"{measured.name}: has depth of its own; leave --teacher out")
    network = OfflineNetwork(teacher)
    return [TaughtVideo(video, network) for video in videos], kind_of(network)
