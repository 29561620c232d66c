"""What folders and patterns hold: the images and videos of them, in natural order, and names to tell them apart."""

from __future__ import annotations

import itertools
import os
import re
import struct
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

from vmdepth_runtime.errors import InputError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# What this room reads beside them; Windows calls the JPEG of a web page .jfif.
PICTURE_ENDINGS = (*IMAGE_ENDINGS, ".jfif", ".pnm", ".pbm", ".avif", ".heic", ".heif")
VIDEO_ENDINGS = (
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".mxf", ".y4m", ".h264", ".hevc", ".mjpeg", ".gif"),
)
# Of robots: MCAP, databases of rosbag2; of ROS 1, and files that rosbag2 compressed as a whole, to say so.
RECORDING_ENDINGS = (".mcap", ".db3", ".bag", ".mcap.zstd", ".db3.zstd")
_PLACE = re.compile(r"%0?\d*d")
_PART = re.compile(r"\.(.+\.mcap)\.\d+\.part")  # as `atomic_files.part_name` calls it
_OUTPUT = ".depth"  # what ends the stems of default outputs


@dataclass(frozen=True)
class Listing:
    """The files of a folder or pattern, each kind in natural order.

    Attributes:
        images: with an image's ending; of a pattern also those with an ending that says nothing.
        videos: with a video's ending, and recordings of robots.
        outputs: how many of a folder's files are left out, as they are named like outputs of an earlier run.
        unread: what else a folder holds, by name, hidden files aside; those of folders end in a slash.
    """

    images: list[Path]
    videos: list[Path]
    outputs: int = 0
    unread: tuple[str, ...] = ()


def is_picture(path: Path) -> bool:
    """Whether a file is one picture, as its name says; of a GIF its content does."""
    ending = path.suffix.lower()
    return ending in PICTURE_ENDINGS or (ending == ".gif" and moves(path, "GIF") is False)


def moves(path: Path, kind: str) -> bool | None:
    """Whether a "GIF" or "WEBP", as Pillow calls them, has several pictures; None where there is none to be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that its header invents
            with Image.open(path, formats=(kind,)) as image:
                return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return None


def is_recording(path: Path) -> bool:
    """Whether a path is a recording of a robot: a file with such an ending, or a rosbag2 folder."""
    if path.name.lower().endswith(RECORDING_ENDINGS) and not is_pattern(path):
        return True
    try:
        with (path / "metadata.yaml").open("rb") as file:
            return b"rosbag2_bagfile_information" in file.read(1000)
    except OSError:
        return False


def bag_metadata(folder: Path) -> dict[str, Any]:
    """What a rosbag2 folder's metadata says; empty where there is none that can be read, or nothing to read it with."""
    with suppress(ModuleNotFoundError):  # of the extra `robots`, which opening the folder asks for
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        with suppress(OSError, YAMLError, KeyError, TypeError, ValueError, RecursionError):
            return dict(YAML(typ="safe").load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"])
    return {}


def bag_files(folder: Path, told: Mapping[str, Any]) -> tuple[list[Path], bool]:
    """The files that a rosbag2 folder consists of, in order, and whether its metadata lists them: what else lies there
    is not of it then. Where it lists none they are the MCAP files in it, else the databases.

    told: `bag_metadata`.
    """
    names = told.get("relative_file_paths")
    if isinstance(names, list) and names:
        return [folder / name for name in dict.fromkeys(Path(str(name)).name for name in names)], True
    found = sorted(folder.glob("*"), key=lambda file: natural(file.name))
    kinds = ([file for file in found if file.suffix.lower() == ending] for ending in RECORDING_ENDINGS[:2])
    return next(filter(None, kinds), []), False


def recorded_files(path: Path) -> list[Path]:
    """The files that a recording consists of, none of which may be there."""
    return bag_files(path, bag_metadata(path))[0] if path.is_dir() else [path]


def is_pattern(path: Path) -> bool:
    """Whether a name means files by a number or by wildcards, as it is no file itself."""
    return bool(_PLACE.search(path.name) or any(c in path.name for c in "*?[")) and not os.path.exists(path)  # noqa: PTH110 (which never raises)


def list_files(path: Path) -> Listing:
    """The files of a folder, or those that a pattern such as "frames/*.png" or "frames/%06d.png" means; a recording of
    a robot, which may be a folder, is one.

    Raises:
        InputError: the folder cannot be read, or holds neither image nor video; or no file is meant by the pattern.
    """
    if is_recording(path):
        return Listing([], [path])
    return _of_pattern(path) if is_pattern(path) else _of_folder(path)


def _of_folder(folder: Path) -> Listing:
    try:
        files, bags, folders = _entries(folder)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check its permissions") from None
    names = [name for name in files if not name.startswith(".")]
    fresh = [name for name in names if not _is_output(name)] or names
    stills = _stills(folder, fresh)
    images = sorted([*_chosen(fresh, PICTURE_ENDINGS), *stills], key=natural)
    videos = [name for name in _videos(fresh, bags) if name not in stills]
    if not images and not videos:
        what = f"none of its {len(files)} files is an image or a video" if files else "the folder is empty"
        if folders and not files:
            what = f"there are only folders in it, which are not looked into, such as {folder / folders[0]}"
        raise InputError(f"{folder}: {what}; give a folder with {', '.join(PICTURE_ENDINGS)} files, or with videos")
    unread = {*fresh, *(f"{name}/" for name in folders)} - {*images, *videos}
    left = tuple(sorted((name for name in unread if not name.startswith(".")), key=natural))
    return Listing([folder / n for n in images], [folder / n for n in videos], len(names) - len(fresh), left)


def _of_pattern(pattern: Path) -> Listing:
    try:
        names, bags, _ = _entries(pattern.parent, pattern)
    except OSError:
        names, bags = [], []
    if not names and not bags:
        raise InputError(f"{pattern}: there is no such file; check the pattern")
    stills = _stills(pattern.parent, names)
    videos = [name for name in _videos(names, bags) if name not in stills]
    images = sorted(set(names) - set(videos), key=natural)
    return Listing([pattern.parent / n for n in images], [pattern.parent / n for n in videos])


def _entries(folder: Path, pattern: Path | None = None) -> tuple[list[str], list[str], list[str]]:
    """The files of a folder, its rosbag2 folders, and the others; of a pattern those that it means. Raises OSError."""
    meant = [entry for entry in os.scandir(folder) if pattern is None or means(pattern, entry.name)]
    files = [entry.name for entry in meant if entry.is_file()]
    folders = [entry.name for entry in meant if entry.is_dir()]
    bags = [name for name in folders if is_recording(folder / name)]
    return files, bags, [name for name in folders if name not in bags]


def _videos(files: Sequence[str], bags: Sequence[str]) -> list[str]:
    return sorted([*_chosen(files, (*VIDEO_ENDINGS, *RECORDING_ENDINGS)), *bags], key=natural)


def _stills(folder: Path, names: Sequence[str]) -> list[str]:
    return [name for name in _chosen(names, (".gif",)) if moves(folder / name, "GIF") is False]


def _chosen(names: Sequence[str], endings: tuple[str, ...]) -> list[str]:
    return sorted((name for name in names if name.lower().endswith(endings)), key=natural)


def _is_output(name: str) -> bool:
    return os.path.splitext(name)[0].endswith(_OUTPUT)  # noqa: PTH122 (a hundred thousand times)


def means(pattern: Path, name: str) -> bool:
    """Whether a pattern means a file of that name in its folder."""
    number = re.search(r"%(0?)(\d*)d", pattern.name)
    if number is None:
        return fnmatch(name, pattern.name)
    width = f"{{{number[2]},}}" if number[1] and number[2] else "+"
    before, after = (re.escape(part) for part in _PLACE.split(pattern.name, maxsplit=1))
    return re.fullmatch(f"{before}\\d{width}{after}", name) is not None


def would_read(source: Path, file: Path) -> bool:
    """Whether a source that is a file, folder or pattern reads a file, were it there."""
    if os.path.isdir(source):  # noqa: PTH112 (which never raises)
        inside = file.parent.resolve() == source.resolve()
        if is_recording(source):
            files, listed = bag_files(source, bag_metadata(source))
            return inside and (file.name in {part.name for part in files} if listed else is_recording(file))
        return inside and is_picture(file) and not _is_output(file.name)
    if file.parent.resolve() != source.parent.resolve():
        return False
    return means(source, file.name) if is_pattern(source) else source.name == file.name


def are_counted(files: Sequence[Path]) -> bool:
    """Whether the last number in files' names rises evenly and the rest is the same, as with the frames of a video."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", file.name) for file in files]
    if not all(parts):
        return False
    steps = {int(after[2]) - int(before[2]) for before, after in pairwise(part for part in parts if part)}
    return len({(part[1], part[3]) for part in parts if part}) <= 1 and len(steps) <= 1


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key of a file's name by the numbers in it: frame 2 before frame 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def called(path: Path) -> str:
    """What a file or folder is called; "." and ".." are what they stand for."""
    return path.name if path.name not in ("", "..") else path.resolve().name


def refuse_part(path: Path) -> None:
    """Raise InputError for what a killed run left of a recording."""
    part = _PART.fullmatch(path.name)
    if part is not None:
        raise InputError(f"{path}: is what a run that was killed left of {part[1]}; rename it to {part[1]} to read it")


def plain(name: str) -> str:
    """A name without the signs that mean something in a pattern or an address."""
    return re.sub(r"[*?%\[\]{}@:/]+", "_", name) or "source"


def names_of(files: Sequence[Path]) -> list[str]:
    """A name for each of several files, unlike all others, and as short as that allows."""
    stems = [plain(file.stem) for file in files]
    return stems if len({stem.casefold() for stem in stems}) == len(stems) else distinct([choices(f) for f in files])


def choices(file: Path) -> tuple[str, ...]:
    """What a file may be called among others, the shortest first."""
    folder = file.absolute().parent.name
    return file.stem, file.name, f"{folder}_{file.stem}", f"{folder}_{file.name}"


def distinct(wanted: Sequence[Sequence[str]]) -> list[str]:
    """A name for each of several things, unlike all others: the first of its choices that no other has, or the last one
    with a number behind it. Capitals make no difference, as on some disks.

    wanted: the choices of each; all have equally many.
    """
    names = [""] * len(wanted)
    taken: set[str] = set()
    for level in range(len(wanted[0]) if wanted else 0):
        left = [(place, plain(wanted[place][level])) for place, name in enumerate(names) if not name]
        counts = Counter(name.casefold() for _, name in left)
        for place, name in left:
            if counts[name.casefold()] == 1 and name.casefold() not in taken:
                names[place] = name
                taken.add(name.casefold())
    for place, name in enumerate(names):
        if not name:
            stem = plain(wanted[place][-1])
            tries = (f"{stem}-{number}" if number > 1 else stem for number in itertools.count(1))
            names[place] = next(name for name in tries if name.casefold() not in taken)
            taken.add(names[place].casefold())
    return names
