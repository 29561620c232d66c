"""One image file: its picture, upright, and its size without reading the picture."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from vmdepth_runtime.sources.colour_conversion import RgbConverter

# Exif's orientation: how the stored picture is brought upright, as cv2.flip's code (None: not at all) and then
# cv2.rotate's. ffmpeg knows it since version 8 only, and then without the mirroring.
_UPRIGHT = {
    2: (1, None),
    3: (None, cv2.ROTATE_180),
    4: (0, None),
    5: (1, cv2.ROTATE_90_COUNTERCLOCKWISE),
    6: (None, cv2.ROTATE_90_CLOCKWISE),
    7: (1, cv2.ROTATE_90_CLOCKWISE),
    8: (None, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM")  # AVIF and HEIC say it in their container


def load_image(file: Path, to_rgb: RgbConverter) -> NDArray[np.uint8] | str:
    """The picture uint8 `[H, W, 3]` RGB, upright, or what is wrong with the file.

    to_rgb: of the caller, kept for as long as pictures are of one size.
    """
    try:
        # As a file object: a name such as frame_%d.jpg would be taken for a pattern.
        with file.open("rb") as data, av.open(data) as container:
            if len(container.streams.video) > 4:  # others are previews and masks; tiles are dozens
                return "is stored in tiles, which are not put together here; save it as JPEG"
            frame = next(container.decode(video=0), None)
            by_container = container.format.name.startswith("mov")  # HEIC and AVIF turn as videos do
            orientation = 1 if by_container else _header(data)[1]
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        return f"not a readable image ({getattr(error, 'strerror', None) or error})"
    if frame is None or frame.is_corrupt:
        return "not a readable image (broken off or damaged)"
    image = to_rgb(frame, turn=by_container)
    flip, turn = _UPRIGHT.get(orientation, (None, None))
    image = image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)
    return image if turn is None else np.asarray(cv2.rotate(image, turn), np.uint8)


def upright_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a picture once it is upright, from its header; None where that says nothing."""
    try:
        with file.open("rb") as data:
            size, orientation = _header(data)
            if size is None:
                data.seek(0)
                with av.open(data) as container:
                    stream = container.streams.video[0]
                    size = (stream.width, stream.height)
    except (av.FFmpegError, OSError, IndexError, ValueError):
        return None
    if not all(size):
        return None
    return size[::-1] if orientation >= 5 else size


def differing(files: Sequence[Path], looks: int) -> tuple[Path, Path] | None:
    """Two of the files whose pictures differ in size, if a look at the headers finds some.

    looks: how many are looked at, at most, spread evenly over them, the first and the last among them.
    """
    count = min(len(files), looks)
    first: tuple[Path, tuple[int, int]] | None = None
    for place in sorted({round(k * (len(files) - 1) / max(1, count - 1)) for k in range(count)}):
        size = upright_size(files[place])
        if size is None:
            continue
        if first is None:
            first = (files[place], size)
        elif size != first[1]:
            return first[0], files[place]
    return None


def _header(file: BinaryIO) -> tuple[tuple[int, int] | None, int]:
    """Stored width and height, and Exif's orientation, 1 to 8; None and 1 of what Pillow does not know."""
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged Exif, which costs no more than its orientation
            image = Image.open(file, formats=_FORMATS)
            return image.size, image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return None, 1  # PyAV has the last word on whether it can be read
