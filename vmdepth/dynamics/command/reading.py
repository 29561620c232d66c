"""The frames of one video, as the network sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
        of_files: whether every frame is a file of that name; else it is a video's.
    """

    images: NDArray[np.uint8]
    names: list[str]
    width: int
    height: int
    to_network: NDArray[np.float64]
    fps: float
    of_files: bool = True

    @property
    def titles(self) -> list[str]:
        """What frames are called before people: the file, or the number in the video."""
        return self.names if self.of_files else [f"frame {int(Path(name).stem)}" for name in self.names]

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
    no_files: list[str] = []
    pictures = read_pictures(settings, told, lambda name, _: no_files.append(name))
    (width, height), *others = pictures.sizes
    for name, size in zip(pictures.names[1:], others, strict=True):
        if size != (width, height):
            raise InputError(
                f"{settings.sources[0]}: {name} has {size[0]}x{size[1]} pixels, and {pictures.names[0]} "
                f"{width}x{height}; give the frames of one video, all of one size"
            )
    images, to_network = np.stack(pictures.images), pictures.to_network[0]
    return Frames(images, pictures.names, width, height, to_network, pictures.fps, not no_files), pictures.skipped
