"""What to evaluate on: held-out rendered clips, a folder of colour and measured depth, a folder of such, or videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmdepth.data.batches import HELD_OUT_SEEDS
from vmdepth.data.rgbd import CAMERAS, RgbdFolder, RgbdFrame, folders_below, rendered_rgbd_frames
from vmdepth.evaluation.settings import CLIPS, FRAMES
from vmdepth.evaluation.teacher_footage import TaughtVideo, open_footage
from vmdepth.evaluation.truth import Truth
from vmdepth_runtime.errors import InputError

_EXAMPLE = f"rendered:{CLIPS}x{FRAMES}"


@dataclass(frozen=True)
class RenderedClip:
    """The first `frames` frames of a seed's endless stream, height × width pixels; rendered anew at each iteration."""

    seed: int
    frames: int
    height: int
    width: int

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[RgbdFrame]:
        return rendered_rgbd_frames(self.seed, self.frames, self.height, self.width)


@dataclass(frozen=True)
class HeldOut:
    """How many rendered clips, of how many frames: the seeds 0 .. clips − 1, which training never draws."""

    clips: int = CLIPS
    frames: int = FRAMES

    def sequences(self, height: int, width: int) -> list[RenderedClip]:
        """The clips, each of height × width pixels."""
        return [RenderedClip(seed, self.frames, height, width) for seed in range(self.clips)]


@dataclass(frozen=True)
class Scenes:
    """RGB-D folders below one, sequences or single pictures, with their names and groups.

    A folder's group is the folder it lies in, or, directly below the path, the beginning of its name up to the first
    "_": takes of one place or camera.
    """

    path: Path
    names: tuple[str, ...]
    groups: tuple[str, ...]
    folders: tuple[RgbdFolder, ...]


@dataclass(frozen=True)
class Taught:
    """Plain footage below a path, and whose depth is taken for its truth."""

    path: Path
    videos: tuple[TaughtVideo, ...]
    truth: Truth


Data = HeldOut | RgbdFolder | Scenes | Taught


def _open_scenes(path: Path) -> Scenes:
    """Raises InputError where there is no RGB-D folder, or none in which depth is known."""
    places = folders_below(path)
    if not places:
        raise InputError(
            f"{path}: no RGB-D folder there; name one with rgb/, depth/ and {CAMERAS}, or a folder of such folders; of "
            f"plain footage --teacher CHECKPOINT gives the depth to compare with"
        )
    folders = [(place, RgbdFolder(place)) for place in places]
    known = [(place, folder) for place, folder in folders if any((frame.depth > 0).any() for frame in folder)]
    if not known:
        raise InputError(f"{path}: nothing in it has depth: every pixel of its {len(places)} folders is 0")
    names = tuple(str(place.relative_to(path)) for place, _ in known)
    groups = tuple(name.split("/")[0] if "/" in name else name.split("_")[0] for name in names)
    return Scenes(path, names, groups, tuple(folder for _, folder in known))


def open_data(data: str, teacher: Path | None = None) -> Data:
    """What "rendered", "rendered:CLIPS", "rendered:CLIPSxFRAMES", the path of an RGB-D folder or of a folder of such
    stands for; with a teacher, the path of a video, of a folder of pictures or of a folder of such.

    Raises InputError for numbers that make no clip, for more clips than are held out, for a path that is no folder, or
    not of the kind, and for what a teacher is not needed for.
    """
    if teacher is not None:
        if data.partition(":")[0] == "rendered":
            raise InputError(f"data '{data}': has depth of its own; leave --teacher out")
        videos, kind = open_footage(Path(data), teacher)
        return Taught(Path(data), tuple(videos), Truth(kind, str(teacher)))
    if data.partition(":")[0] != "rendered":
        path = Path(data)
        if not path.is_dir():
            raise InputError(_no_data(path))
        is_one = any((path / part).exists() for part in (CAMERAS, "rgb", "depth"))
        return RgbdFolder(path) if is_one else _open_scenes(path)
    match = re.fullmatch(r"rendered(?::(\d+)(?:x(\d+))?)?", data)
    numbers = [int(number) for number in match.groups() if number] if match else [0]
    if 0 in numbers:
        raise InputError(f"data '{data}': should be 'rendered:CLIPSxFRAMES', for example {_EXAMPLE}, or a folder")
    if numbers and numbers[0] > HELD_OUT_SEEDS:
        raise InputError(
            f"data '{data}': only {HELD_OUT_SEEDS} rendered worlds are held out, training may have seen all others; "
            f"ask for so many clips at most"
        )
    return HeldOut(*numbers)


def _no_data(path: Path) -> str:
    if path.exists():
        return f"{path}: has no depth to compare with; name a --teacher CHECKPOINT that gives it, or an RGB-D folder"
    return f"{path}: no such folder; name one with rgb/, depth/ and {CAMERAS}, or '{_EXAMPLE}'"


def describe(source: Data) -> str:
    """For people: how much there is of it, and of what kind."""
    if isinstance(source, RgbdFolder):
        return f"{len(source)} frames of {source.path}"
    if isinstance(source, Scenes):
        frames, groups = sum(map(len, source.folders)), len(set(source.groups))
        return f"{len(source.folders)} scenes in {groups} groups below {source.path}, {frames} frames"
    if isinstance(source, Taught):
        frames, videos = sum(map(len, source.videos)), len(source.videos)
        return f"{frames} frames of {source.path}" + (f", {videos} videos" if videos > 1 else "")
    return f"{source.clips} held-out rendered clips of {source.frames} frames"
