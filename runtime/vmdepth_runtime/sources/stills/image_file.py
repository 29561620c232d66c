"""One image file: its picture, upright, and its size without reading the picture."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.listing import moves
from vmdepth_runtime.sources.stills.deep_grey import Grey, declares_depth, deep_grey, grey_of
from vmdepth_runtime.sources.video_file import TAGS

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
_SEEN = 16  # pictures whose levels are looked at, of those that belong together
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM")  # AVIF and HEIC say it in their container


def load_image(
    file: Path, to_rgb: RgbConverter, grey: Grey | None = None, told: Callable[[str], None] | None = None
) -> NDArray[np.uint8] | str:
    """Read a picture.

    Args:
        file: any that FFmpeg reads.
        to_rgb: of the caller, kept for as long as pictures are of one size.
        grey: what is black and white in 16 bits of grey; None: by the picture's own range.
        told: gets a line where those are not all of the levels there are.

    Returns:
        uint8 `[H, W, 3]` RGB, upright; or what is wrong with the file.
    """
    frame = _decoded(file)
    if isinstance(frame, str):
        return frame
    deep = None if frame.by_container else deep_grey(frame.frame)
    if deep is None:
        image = to_rgb(frame.frame, turn=frame.by_container)
    else:
        depth = declares_depth(file)
        if depth is not None:
            return f"is depth that was written before, as {depth.name} says, and no picture"
        grey = grey or grey_of([deep])
        if told is not None and grey.is_stretched:
            told(str(grey))
        image = np.repeat(grey(deep)[..., None], 3, axis=2)
    flip, turn = _UPRIGHT.get(frame.orientation, (None, None))
    image = image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)
    return image if turn is None else np.asarray(cv2.rotate(image, turn), np.uint8)


def shared_grey(files: Sequence[Path]) -> Grey | None:
    """What is black and white in pictures that belong together, by a look at some; None where they have no 16 bits of
    grey, as the first of them that can be read tells."""
    seen: list[NDArray[np.uint16]] = []
    for frame in map(_decoded, spread(files, _SEEN)):
        if isinstance(frame, str):
            continue
        deep = None if frame.by_container else deep_grey(frame.frame)
        if deep is None and not seen:
            return None
        seen += [] if deep is None else [deep]
    return grey_of(seen) if seen else None


class _Decoded(NamedTuple):
    frame: av.VideoFrame
    by_container: bool  # whether the container says what is upright
    orientation: int  # else Exif's


def _decoded(file: Path) -> _Decoded | str:
    try:
        # As a file object: a name such as frame_%d.jpg would be taken for a pattern.
        with file.open("rb") as data, av.open(data, metadata_errors=TAGS) as container:
            if len(container.streams.video) > 4:  # others are previews and masks; tiles are dozens
                return "is stored in tiles, which are not put together here; save it as JPEG"
            frame = next(container.decode(video=0), None)
            by_container = container.format.name.startswith("mov")  # HEIC and AVIF turn as videos do
            orientation = 1 if by_container else _header(data)[1]
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        if moves(file, "WEBP"):  # of which FFmpeg reads nothing
            return "moves, and is not read"
        return f"not a readable image ({getattr(error, 'strerror', None) or error})"
    if frame is None or frame.is_corrupt:
        return "not a readable image (broken off or damaged)"
    return _Decoded(frame, by_container, orientation)


def upright_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a picture once it is upright, from its header; None where that says nothing."""
    try:
        with file.open("rb") as data:
            size, orientation = _header(data)
            if size is None:
                data.seek(0)
                with av.open(data, metadata_errors=TAGS) as container:
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
    first: tuple[Path, tuple[int, int]] | None = None
    for file in spread(files, looks):
        size = upright_size(file)
        if size is None:
            continue
        if first is None:
            first = (file, size)
        elif size != first[1]:
            return first[0], file
    return None


def spread(files: Sequence[Path], most: int) -> list[Path]:
    """At most so many of the files, spread evenly over them, the first and the last among them."""
    count = min(len(files), most)
    return [files[k] for k in sorted({round(k * (len(files) - 1) / max(1, count - 1)) for k in range(count)})]


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
