"""One image file: its picture, upright, and its size without reading the picture."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

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
_ORIENTATION = 0x0112  # the tag in a TIFF directory, which Exif is
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))  # JPEG's SOF markers


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
    """Stored width and height of a JPEG or PNG, and Exif's orientation, 1 to 8, of these, WebP and TIFF.

    Raises:
        ValueError: the header is damaged.
    """
    file.seek(0)
    start = file.read(26)
    try:
        if start.startswith(b"\xff\xd8"):
            return _jpeg(file)
        if start.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack(">II", start[16:24])
            return (width, height), _chunks(file, 8, riff=False)
        if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
            return None, _chunks(file, 12, riff=True)
        if start[:4] in (b"II*\0", b"MM\0*"):
            return None, _orientation(file, 0)
    except struct.error:
        raise ValueError("its header is damaged") from None
    return None, 1


def _jpeg(file: BinaryIO) -> tuple[tuple[int, int] | None, int]:
    orientation, place = 1, 2
    while True:
        file.seek(place)
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF:
            raise ValueError("its header is damaged")
        if kind in _FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return (width, height), orientation
        if kind == 0xE1 and file.read(6) == b"Exif\0\0":
            orientation = _orientation(file, place + 10)
        place += 1 if kind == 0xFF else 2 + length  # a marker may have more than one FF before it


def _chunks(file: BinaryIO, place: int, *, riff: bool) -> int:
    """The orientation in a chunk of a PNG (of RIFF: a WebP), the first of which is at `place`."""
    while len(head := (file.seek(place), file.read(8))[1]) == 8:
        kind, length = struct.unpack("<4sI", head) if riff else struct.unpack(">I4s", head)[::-1]
        if kind in (b"EXIF", b"eXIf"):
            return _orientation(file, place + 8)
        if kind == b"IDAT":
            return 1
        place += 8 + length + length % 2 if riff else 12 + length  # a checksum ends PNG's
    return 1


def _orientation(file: BinaryIO, base: int) -> int:
    """The orientation in the first directory of a TIFF structure that begins at `base`; 1 where there is none."""
    file.seek(base)
    start = file.read(8)
    if start.startswith(b"Exif\0\0"):  # some writers of WebP put JPEG's mark before it
        return _orientation(file, base + 6)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return 1
    (directory,) = struct.unpack(f"{order}I", start[4:])
    file.seek(base + directory)
    (count,) = struct.unpack(f"{order}H", file.read(2))
    for _ in range(count):
        tag, _, _, value = struct.unpack(f"{order}HHIH", file.read(12)[:10])
        if tag == _ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return 1
