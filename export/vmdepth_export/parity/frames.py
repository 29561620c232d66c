"""Frames to compare on."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime import bundled
from vmdepth_runtime.contract import StepContract


def choose_frames(source: str | None, count: int, contract: StepContract) -> Iterator[NDArray[np.uint8]]:
    """`count` frames for a model: of a source, or rendered ones where there is none.

    Rendering takes torch. On a board that has none the bundled clip stands in, which is 120 frames long.
    """
    size = (contract.height, contract.width, contract.streams)
    if source is None and find_spec("torch") is None:
        source = str(bundled.CLIP)
    if source is None:
        return rendered_frames(count, *size)
    return source_frames(source, count, *size, remembers=bool(contract.states))


def rendered_frames(count: int, height: int, width: int, streams: int) -> Iterator[NDArray[np.uint8]]:
    """`count` frames of held-out rendered clips, one clip per stream: uint8 [B, H, W, 3]."""
    import cv2

    from vmdepth.data.rendering.synthetic import render_clips

    # Enlarged from a small rendering: what matters here is that the content moves, not how fine it is.
    small, chunk = (98, 126), 20
    for first in range(0, count, chunk):
        clips = render_clips(range(streams), min(chunk, count - first), *small, first_frame=first)
        images = (clips.rgb.clamp(0, 1) * 255).byte().permute(1, 0, 3, 4, 2).numpy()
        for frame in images:
            yield np.stack([cv2.resize(image, (width, height)) for image in frame])


def source_frames(
    source: str, count: int, height: int, width: int, streams: int, *, remembers: bool = True
) -> Iterator[NDArray[np.uint8]]:
    """Up to `count` frames of a video or folder, stretched to the model's size, the same for every stream.

    Args:
        source: as `open_source` takes it.
        count: how many frames at most.
        height: of the model.
        width: likewise.
        streams: of the model.
        remembers: whether the model carries states from frame to frame, so that they have to be those of one video.

    Raises:
        InputError: the source cannot be read, or holds pictures that have nothing to do with each other, and the model
            remembers.
    """
    import cv2

    from vmdepth_runtime.errors import InputError
    from vmdepth_runtime.sources.open import open_source

    with open_source(source) as frames:
        if remembers and frames.pictures and frames.info.frames != 1:
            raise InputError(
                f"{source}: its images differ in size, so they are no video, and the model's states go on from one "
                "frame to the next; give a video, or the frames of one"
            )
        for _, frame in zip(range(count), frames, strict=False):
            image = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
            yield np.repeat(image[None], streams, axis=0)
