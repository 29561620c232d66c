"""Image files as a source: the frames of one video, or pictures that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import MIN_SIDE, Source, SourceFrame, VideoInfo
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.listing import called, names_of
from vmdepth_runtime.sources.ranges.selection import Selection
from vmdepth_runtime.sources.settings import ReadSettings
from vmdepth_runtime.sources.stills.image_file import differing, load_image, shared_grey

FOLDER_FPS = 30.0  # image files carry no times
_LOOKS = 1000  # headers that are read to see whether sizes differ: a tenth of a second, however many files there are


def are_pictures(files: Sequence[Path], images: bool | None) -> bool:
    """Whether several image files are pictures, each on its own, rather than the frames of one video.

    images: what was asked for; None: they are where their sizes differ, as far as their headers are looked at, and
        where there is only one.
    """
    if images is not None:
        return images
    return len(files) == 1 or differing(files, _LOOKS) is not None


class FolderSource(Source):
    """Image files, in the order given.

    As frames of a video they have one size, the first one's: one of another size is scaled to it, and the stream starts
    anew there and after it. As pictures each has its own size and name, and is a discontinuity.

    Args:
        path: the folder or pattern they are of, or the only one.
        files: the image files.
        pictures: whether each stands on its own.
        read: which are taken, and how many are a second.

    Raises:
        InputError: there is none that can be read.
    """

    def __init__(self, path: Path, files: Sequence[Path], *, pictures: bool, read: ReadSettings) -> None:
        super().__init__(called(path))
        self.pictures = pictures
        self._files = files
        self._names = names_of(files) if pictures else [""] * len(files)
        self._fps = read.fps or FOLDER_FPS
        selection = Selection(read)
        selection.starts_at(self._fps)
        self._places = selection.places(len(files))
        if not self._places:
            raise selection.beyond(str(path), len(files), len(files) / self._fps)
        self._grey = None if pictures else shared_grey([files[place] for place in self._places])
        self._is_told = False  # of 16 bits of grey
        self._scaled = 0
        self._to_rgb = RgbConverter(notes=self.notes)
        self._ahead = self._read()
        first = next(self._ahead, None)
        if first is None:
            reason = self.skipped[0]
            alone = f"{path}: {reason.reason}; give another picture"
            several = f"{path}: none of its {len(self._places)} images can be read, the first: {reason}"
            raise InputError(alone if [path] == list(files) else several)
        self._first = first

    @property
    def seekable(self) -> bool:
        return not self.pictures

    def __iter__(self) -> Iterator[SourceFrame]:
        yield self._first
        yield from self._ahead

    def sample(self, count: int) -> list[NDArray[np.uint8]]:
        if self.pictures:
            return []
        total = len(self._places)
        images = []
        for number in sorted({(2 * k + 1) * total // (2 * count) for k in range(count)}):
            image = load_image(self._files[self._places[number]], self._to_rgb, self._grey)
            if not isinstance(image, str) and image.shape == self._first.image.shape:
                images.append(image)
        return images

    def _read(self) -> Iterator[SourceFrame]:
        before: tuple[int, ...] | None = None
        for index in self._places:
            file = self._files[index]
            image = load_image(file, self._to_rgb, self._grey, self._tell_grey)
            if isinstance(image, str):
                self._skip(index, file.name, image)
                continue
            size = image.shape[:2]
            if self.pictures and min(size) < MIN_SIDE:
                self._skip(index, file.name, f"is {size[1]}x{size[0]}, at least {MIN_SIDE}x{MIN_SIDE} is needed")
                continue
            if not hasattr(self, "info"):
                time_base = 1 / Fraction(self._fps).limit_denominator(100_000)
                fps = self._fps / self._places.step
                begin = float(index * time_base) if self._places.start else 0.0
                self.info = VideoInfo(size[1], size[0], len(self._places), fps, time_base, begin)
            changed, before = before not in (None, size), size
            yield SourceFrame(
                index,
                index / self._fps,
                image if self.pictures else self._at_first_size(image, file),
                discontinuity=self.pictures or changed,
                name=self._names[index],
            )
        if self._scaled > 1:
            self._warn(f"{self.name}: {self._scaled} images in all were scaled")

    def _tell_grey(self, line: str) -> None:
        if not self._is_told:
            own = "; the others by ranges of their own" if self.pictures and len(self._places) > 1 else ""
            self.notes.append(f"{line}{own}")
        self._is_told = True

    def _at_first_size(self, image: NDArray[np.uint8], file: Path) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        wanted = (self.info.width, self.info.height)
        if (width, height) == wanted:
            return image
        self._scaled += 1
        if self._scaled == 1:
            self._warn(
                f"{self.name}: {file.name} is {width}x{height}, the first image {wanted[0]}x{wanted[1]}: scaled to it, "
                "the stream starts anew; --images takes each picture on its own, at its own size"
            )
        return np.asarray(cv2.resize(image, wanted, interpolation=cv2.INTER_AREA), np.uint8)
