"""Frames of videos and folders by number: what clips are cut from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.data.masks import MOVING, MaskFolder, masks_beside
from vmdepth.data.rgbd import CAMERAS, RgbdFolder, depth_in_image
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.footage.deinterlacing import whole_frames
from vmdepth_runtime.sources.listing import IMAGE_ENDINGS, VIDEO_ENDINGS, natural
from vmdepth_runtime.sources.video_file import TAGS, packets_of

_SEEKABLE = ("mov", "matroska")  # formats in which a frame has the same time after a seek as before
_STEPS_BACK = (0, 8, 64)  # frames


class Unreadable(InputError):
    """Some frames of a video cannot be read; others may."""


@dataclass(frozen=True)
class Footage:
    """images: uint8 [N, H, W, 3] RGB. inverse_depth: float32 [N, h, w] over the same picture, ≥ 0, NaN where unknown;
    None for frames without depth. metric: inverse depth is in 1/m. moving: bool [N, H, W], what a mask says moves by
    itself; None where there is none."""

    images: NDArray[np.uint8]
    inverse_depth: NDArray[np.float32] | None = None
    metric: bool = False
    moving: NDArray[np.bool_] | None = None


class Video(ABC):
    """A video by the numbers of its frames. `spans`: ranges of frames whose depth belongs together; clips keep within
    one."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.name, self.count = path, str(path), count
        self.labelled = False
        self.spans: list[range] = [range(count)]

    def __len__(self) -> int:
        return self.count

    @abstractmethod
    def read(self, numbers: Sequence[int]) -> Footage:
        """Frames of ascending numbers. Raises Unreadable, naming the file, for one that cannot be read."""


class VideoFile(Video):
    """A video file. Its packets are counted once, without decoding. Raises InputError where there is no picture."""

    def __init__(self, path: Path) -> None:
        try:
            with av.open(f"file:{path}", metadata_errors=TAGS) as container:
                stream = next(iter(container.streams.video), None)
                if stream is None or container.format.name == "tty":
                    raise InputError(f"{path}: there is no picture in it")
                self._seekable = container.format.name.startswith(_SEEKABLE)
                packets = (
                    p for p in packets_of(container, stream) if p.pts is not None and p.size and not p.is_discard
                )
                self._times = sorted({packet.pts for packet in packets if packet.pts is not None})
        except av.FFmpegError as error:
            raise InputError(f"{path}: not a video that can be read ({error.strerror})") from None
        super().__init__(path, len(self._times))

    def read(self, numbers: Sequence[int]) -> Footage:
        found: dict[int, NDArray[np.uint8]] = {}
        try:
            # A seek may land behind a frame that is shown before its key frame: go back further until all are there.
            for back in _STEPS_BACK if self._seekable else ():
                found = self._after_seek(numbers, max(numbers[0] - back, 0))
                if len(found) == len(numbers):
                    break
            if len(found) < len(numbers):
                found = self._from_start(numbers)
        except av.FFmpegError as error:
            raise Unreadable(f"{self.path}: damaged near frame {numbers[0]} ({error.strerror})") from None
        missing = [number for number in numbers if number not in found]
        if missing:
            raise Unreadable(f"{self.path}: frame {missing[0]} does not decode")
        return Footage(_stacked(self.path, [found[number] for number in numbers]))

    def _after_seek(self, numbers: Sequence[int], start: int) -> dict[int, NDArray[np.uint8]]:
        """Frames by number, decoded from the key frame before frame `start` on, known by their times."""
        wanted = {self._times[number]: number for number in numbers}
        found = {}
        with av.open(f"file:{self.path}", metadata_errors=TAGS) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # several workers share the cores already
            to_rgb = RgbConverter(stream)
            container.seek(self._times[start], stream=stream)
            for frame in whole_frames(container.decode(stream), []):
                if frame.pts in wanted and not frame.is_corrupt:
                    found[wanted[frame.pts]] = to_rgb(frame)
                if frame.pts is not None and frame.pts >= self._times[numbers[-1]]:
                    break
        return found

    def _from_start(self, numbers: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        """Frames by number, counted from the first that decodes: the slow way that works for every format."""
        found = {}
        with av.open(f"file:{self.path}", metadata_errors=TAGS) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            to_rgb = RgbConverter(stream)
            for number, frame in enumerate(whole_frames(container.decode(stream), [])):
                if number in numbers and not frame.is_corrupt:
                    found[number] = to_rgb(frame)
                if number >= numbers[-1]:
                    break
        return found


class FrameFolder(Video):
    """The images of a folder, in the order of the numbers in their names; or those of its `rgb/`, with masks of what
    moves in its `moving/`. Raises InputError where there are not as many of these."""

    def __init__(self, path: Path) -> None:
        with_masks = _has_masks(path)
        self._files = image_files(path / "rgb" if with_masks else path)
        self._masks: MaskFolder | None = masks_beside(path / "rgb", len(self._files)) if with_masks else None
        super().__init__(path, len(self._files))

    def read(self, numbers: Sequence[int]) -> Footage:
        images = _stacked(self.path, [_image(self._files[number]) for number in numbers])
        moving = None
        if self._masks is not None:
            try:
                moving = np.stack([self._masks.read(number, *images.shape[1:3]) for number in numbers])
            except InputError as error:
                raise Unreadable(str(error)) from None
        return Footage(images, moving=moving)


class RgbdVideo(Video):
    """An RGB-D folder; depth is moved into the colour camera."""

    def __init__(self, path: Path) -> None:
        self._folder = RgbdFolder(path)
        super().__init__(path, len(self._folder))
        self.labelled = True

    def read(self, numbers: Sequence[int]) -> Footage:
        try:
            frames = [self._folder[number] for number in numbers]
        except InputError as error:
            raise Unreadable(str(error)) from None
        depth = np.stack([depth_in_image(frame) for frame in frames])
        inverse = np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), np.nan).astype(np.float32)
        images = _stacked(self.path, [frame.image for frame in frames])
        masks = [frame.moving for frame in frames if frame.moving is not None]
        return Footage(images, inverse, metric=True, moving=np.stack(masks) if masks else None)


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order."""
    names = (entry.name for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_ENDINGS)
    return [folder / name for name in sorted((n for n in names if not n.startswith(".")), key=natural)]


def find_videos(path: Path) -> list[Video]:
    """All videos at a path: a video file, a folder of frames (with masks: of `rgb/` and `moving/`), an RGB-D folder, or
    a folder (of folders) of such.

    Raises InputError where there is none, or where one cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give videos, folders of frames or RGB-D folders")
    videos = _found(path)
    if not videos:
        raise InputError(
            f"{path}: no clip found there; give videos ({', '.join(VIDEO_ENDINGS)}), folders of frames, "
            f"or folders of rgb/ and depth/"
        )
    return videos


def _found(path: Path) -> list[Video]:
    if path.is_file():
        return [VideoFile(path)]
    if (path / CAMERAS).is_file() or ((path / "rgb").is_dir() and (path / "depth").is_dir()):
        return [RgbdVideo(path)]
    if _has_masks(path):
        return [FrameFolder(path)]
    entries = sorted(path.iterdir(), key=lambda entry: natural(entry.name))
    videos: list[Video] = [VideoFile(e) for e in entries if e.is_file() and e.suffix.lower() in VIDEO_ENDINGS]
    if not videos and image_files(path):
        videos = [FrameFolder(path)]
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            videos += _found(entry)
    return videos


def _has_masks(path: Path) -> bool:
    return (path / "rgb").is_dir() and (path / MOVING).is_dir()


def _image(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise Unreadable(f"{path}: not a readable image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]  # OpenCV keeps the dtype


def _stacked(path: Path, images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if len({image.shape for image in images}) > 1:
        raise Unreadable(f"{path}: its frames are of different sizes")
    return np.stack(images)
