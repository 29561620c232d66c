"""The frames of one video, as the network sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmdepth.views.reading import HowRead, read_pictures
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class Frames:
    """T frames of one size.

    Attributes:
        images: uint8 [T, H, W, 3], RGB, as the network sees them.
        names: of the pictures, or of a video's frames their numbers, with .png.
        width: pixels of every frame.
        height: likewise.
        to_network: float64 [3, 3], brings places in a frame to those in `images`, both in pixels from the outer corner.
        fps: frames per second.
    """

    images: NDArray[np.uint8]
    names: list[str]
    width: int
    height: int
    to_network: NDArray[np.float64]
    fps: float

    def __len__(self) -> int:
        return len(self.images)


def read_frames(settings: HowRead, told: Callable[[int], None]) -> tuple[Frames, list[str]]:
    """Read what is taken of a source.

    Args:
        settings: what is read: one source.
        told: called with the number of frames read so far.

    Returns:
        The frames, and a line for every one that could not be read.

    Raises:
        InputError: it cannot be read, or its frames differ in size.
    """
    pictures = read_pictures(settings, told)
    (width, height), *others = pictures.sizes
    for name, size in zip(pictures.names[1:], others, strict=True):
        if size != (width, height):
            raise InputError(
                f"{settings.sources[0]}: {name} has {size[0]}x{size[1]} pixels, and {pictures.names[0]} "
                f"{width}x{height}; give the frames of one video, all of one size"
            )
    frames = Frames(np.stack(pictures.images), pictures.names, width, height, pictures.to_network[0], pictures.fps)
    return frames, pictures.skipped
