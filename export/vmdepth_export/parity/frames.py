"""Frames to compare on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vmdepth_export.stages import Moved
from vmdepth_runtime import bundled
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.errors import InputError

_APART = 37  # frames of the clip between two streams


def choose_frames(
    source: str | None, count: int, contract: StepContract, topic: str | None = None
) -> Iterator[NDArray[np.uint8]]:
    """`count` frames for a model: of a source, or of the bundled clip where there is none. topic: of a recording."""
    size = (contract.height, contract.width, contract.streams)
    if source is None:
        return clip_frames(count, *size)
    return source_frames(source, count, *size, remembers=bool(contract.states), topic=topic)


def clip_frames(count: int, height: int, width: int, streams: int) -> Iterator[NDArray[np.uint8]]:
    """`count` frames of the bundled clip, over and over, each stream at another place of it: uint8 [B, H, W, 3].

    To decode it takes a twentieth of what rendering would.
    """
    places = [_clip(height, width, stream * _APART) for stream in range(streams)]
    for frames in islice(zip(*places, strict=True), count):
        yield np.stack(frames)


def source_frames(
    source: str, count: int, height: int, width: int, streams: int, *, remembers: bool = True, topic: str | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Up to `count` frames of a video or folder, stretched to the model's size, the same for every stream.

    Args:
        source: as `open_source` takes it.
        count: how many frames at most.
        height: of the model.
        width: likewise.
        streams: of the model.
        remembers: whether the model carries states from frame to frame, so that they have to be those of one video.
        topic: of a recording of a robot; None: the only one with pictures.

    Raises:
        InputError: the source cannot be read, or holds pictures that have nothing to do with each other, and the model
            remembers.
    """
    for image in islice(_images(source, height, width, remembers=remembers, topic=topic), count):
        yield np.repeat(image[None], streams, axis=0)


def until(
    frames: Iterable[NDArray[np.uint8]], seconds: float, least: int, count: int, moved: Moved
) -> Iterator[NDArray[np.uint8]]:
    """The frames, until the time is up; `least` of them at any rate.

    moved: told how many are done, and how many of `count` it will be as things are.
    """
    begun = perf_counter()
    for number, frame in enumerate(frames):
        each = (perf_counter() - begun) / max(number, 1)
        if number >= least and each * (number + 2) > seconds:  # with room for one that takes longer
            return
        if number:
            moved(number, max(least, int(min(count, seconds / max(each, 1e-9)))))
        yield frame


def _clip(height: int, width: int, first: int) -> Iterator[NDArray[np.uint8]]:
    """The bundled clip without an end, from a frame on."""
    while True:
        yield from islice(_images(str(bundled.CLIP), height, width), first, None)
        first = 0


def _images(
    source: str, height: int, width: int, *, remembers: bool = True, topic: str | None = None
) -> Iterator[NDArray[np.uint8]]:
    import cv2

    from vmdepth_runtime.sources.open import open_source
    from vmdepth_runtime.sources.settings import ReadSettings

    with open_source(source, read=ReadSettings(topic=topic)) as frames:
        if remembers and frames.pictures and frames.info.frames != 1:
            raise InputError(
                f"{source}: its images differ in size, so they are no video, and the model's states go on from one "
                "frame to the next; give a video, or the frames of one"
            )
        for frame in frames:
            yield np.asarray(cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
