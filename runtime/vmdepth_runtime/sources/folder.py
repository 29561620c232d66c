"""A folder of images as a source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source, SourceFrame, VideoInfo
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.image_file import load_image

FOLDER_FPS = 30  # image files carry no times
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class FolderSource(Source):
    """The images of one folder, in natural order (frame 2 before frame 10), 30 to the second.

    The first one that can be read sets the size; an image of another size is skipped, as the states of one size cannot
    go on with another.

    Args:
        path: the folder, or the pattern.
        files: those of a pattern, in order; None: all of the folder.

    Raises:
        InputError: there is none that can be read.
    """

    def __init__(self, path: Path, files: list[Path] | None = None) -> None:
        super().__init__(path.name)
        self._files = _images_in(path) if files is None else files
        self._to_rgb = RgbConverter()
        self._ahead = self._read()
        first = next(self._ahead, None)
        if first is None:
            reason = self.skipped[0]
            raise InputError(f"{path}: none of its {len(self._files)} images can be read, the first: {reason}")
        self._first = first

    @property
    def seekable(self) -> bool:
        return True

    def __iter__(self) -> Iterator[SourceFrame]:
        yield self._first
        yield from self._ahead

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        total = len(self._files)
        images = []
        for index in sorted({(2 * k + 1) * total // (2 * count) for k in range(count)}):
            image = load_image(self._files[index], self._to_rgb)
            if not isinstance(image, str) and image.shape == self._first.image.shape:
                images.append(image)
        return images

    def _read(self) -> Iterator[SourceFrame]:
        for index, file in enumerate(self._files):
            image = load_image(file, self._to_rgb)
            if isinstance(image, str):
                self._skip(index, file.name, image)
                continue
            if not hasattr(self, "info"):
                height, width = image.shape[:2]
                self.info = VideoInfo(width, height, len(self._files), float(FOLDER_FPS), Fraction(1, FOLDER_FPS))
            height, width = image.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                self._skip(
                    index, file.name, f"is {width}x{height}, the first frame was {self.info.width}x{self.info.height}"
                )
                continue
            yield SourceFrame(index, index / FOLDER_FPS, image)


def files_of_pattern(pattern: Path) -> list[Path] | None:
    """The files that "frames/*.png" or "frames/%06d.png" mean, in natural order; None where it is no pattern.

    Raises:
        InputError: no file is meant by it.
    """
    number = re.search(r"%(0?)(\d*)d", pattern.name)
    if number is None and not any(c in pattern.name for c in "*?["):
        return None
    try:
        names = [entry.name for entry in pattern.parent.iterdir() if entry.is_file()]
    except OSError:
        names = []
    if number is not None:
        width = f"{{{number[2]},}}" if number[1] and number[2] else "+"
        before, after = (re.escape(part) for part in re.split(r"%0?\d*d", pattern.name, maxsplit=1))
        names = [name for name in names if re.fullmatch(f"{before}\\d{width}{after}", name)]
    else:
        names = [name for name in names if fnmatch(name, pattern.name)]
    if not names:
        raise InputError(f"{pattern}: there is no such file; check the pattern")
    return [pattern.parent / name for name in sorted(names, key=natural)]


def _images_in(folder: Path) -> list[Path]:
    try:
        names = sorted((entry.name for entry in folder.iterdir() if entry.is_file()), key=natural)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check its permissions") from None
    images = [folder / n for n in names if n.lower().endswith(IMAGE_ENDINGS) and not n.startswith(".")]
    if not images:
        what = f"none of its {len(names)} files is an image" if names else "the folder is empty"
        raise InputError(f"{folder}: {what}; give a folder with {', '.join(IMAGE_ENDINGS)} files")
    return images


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key of a file's name by the numbers in it: frame 2 before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
