"""Outputs that are files: one for all frames, or one per frame; and how those are named."""

from __future__ import annotations

import os
import re
import shutil
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import check_target, part_name, write_whole
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sinks.base import Sink, SinkFacts, writing
from vmdepth_runtime.sources.base import SourceFrame
from vmdepth_runtime.sources.listing import would_read
from vmdepth_runtime.sources.uri import scheme_of

_LARGE = 2 << 30  # bytes, from which the size is said beforehand
_NUMBER = re.compile(r"%0?\d*d")
NAME = "{name}"  # stands in a target for what the source, or a picture, is called


class FileSink(Sink):
    """What is meant by the ending of a file's name.

    Attributes:
        ending: such as ".mp4", in lower case.
        path: as `-o` names it.
    """

    ending: ClassVar[str]

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self.path = Path(target)

    @classmethod
    def accepts(cls, target: str) -> bool:
        return scheme_of(target) is None and Path(target).suffix.lower() == cls.ending


class OneFileSink(FileSink):
    """One file, in a folder that is made where it is not there. `close` gives it its name, in place of what was there;
    `abort` leaves nothing behind, as does a sink that was given no frame. Where it cannot be finished, what can be read
    of it is kept under another name."""

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self._part = part_name(self.path)
        self._open = True
        self._made_folder = not self.path.parent.exists()
        self.path.parent.mkdir(exist_ok=True)

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        path = Path(target)
        if is_pattern(path):
            raise InputError(f"{target}: {cls.ending} is one file for all frames; leave out the number")
        super().check(target, sources, has_camera=has_camera)
        _check_place(path)
        for source in sources:
            if path.parent.is_dir():
                check_target(path, source)

    def close(self) -> None:
        if not self._open:
            return
        if self.frames == 0:
            self.abort()
            return
        try:
            with writing(self.path):
                self._finish()
                self._part.replace(self.path)
        except WorkError as error:
            self._open = False
            kept = self._salvage()
            if not (kept.exists() and kept.stat().st_size):
                kept.unlink(missing_ok=True)
                self.frames = 0
                raise
            self.name = str(kept)
            raise WorkError(f"{error}; what was written before is in {kept}") from None
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Remove what was written so far."""
        if self._open:
            self._open = False
            self._drop()
            self._part.unlink(missing_ok=True)
            if self._made_folder:
                with suppress(OSError):  # others may have put something there
                    self.path.parent.rmdir()

    def _salvage(self) -> Path:
        """Keep what is there, though it could not be finished, where nobody takes it for the whole."""
        self._drop()
        return renamed(self._part, self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}"))

    @abstractmethod
    def _finish(self) -> None:
        """Make `self._part` complete."""

    @abstractmethod
    def _drop(self) -> None:
        """Let go of whatever is open, without an error."""


class PerFrameSink(FileSink):
    """A file per frame, in a folder that is made where it is not there; each file appears whole. A target without a
    number is the file of the only frame."""

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self.path.parent.mkdir(exist_ok=True)

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        path = Path(target)
        if len(_NUMBER.findall(path.name)) > 1:
            raise InputError(f"{target}: has more than one place for the frame's number; leave one")
        super().check(target, sources, has_camera=has_camera)
        _check_place(path)
        examples = [numbered(path, number) for number in (0, 10**6)]
        for source in sources:
            if any(would_read(source, example) for example in examples) or _may_be(path, source):
                raise InputError(f"{target}: would be written among the source's own files; choose another folder")

    def close(self) -> None:
        return

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        if self.frames and not is_pattern(self.path):
            raise WorkError(f"{self.path}: is one file, and a second frame came; {_instead(self.path)}")
        write_whole(numbered(self.path, frame.index), self._encoded(frame, depth, colour))

    @abstractmethod
    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> bytes | memoryview:
        """The content of a frame's file. Arguments as of `write`."""


def check_one_frame(target: str, source: str, frames: int | None) -> None:
    """Raise InputError where a source gives more frames than a target without a number has room for.

    target: of a `PerFrameSink`. source: its name, for people. frames: how many it gives; None: nobody knows.
    """
    path = Path(target)
    if not is_pattern(path) and frames != 1:
        several = "an unknown number of" if frames is None else str(frames)
        raise InputError(f"{target}: is one file, and {source} has {several} frames; {_instead(path)}")


def _instead(path: Path) -> str:
    return f"-o '{path.with_name(path.stem) / f'%06d{path.suffix}'}' is one per frame, --frames 1 takes one"


def _check_place(path: Path) -> None:
    """Raise InputError unless files can be put where `path` is, in a folder that may have to be made."""
    parent = path.parent
    if os.path.exists(parent):  # noqa: PTH110 (which never raises)
        check_target(path)
    elif not os.path.isdir(parent.parent):  # noqa: PTH112 (which never raises)
        raise InputError(f"{path}: the folder {parent.parent} is not there; make it first")
    else:
        check_target(parent)


def _may_be(path: Path, source: Path) -> bool:
    """Whether a number makes the name of a source's file."""
    before, _, after = _NUMBER.sub("\0", path.name).partition("\0")
    middle = r"\d+" if is_pattern(path) else ""
    named = re.fullmatch(f"{re.escape(before)}{middle}{re.escape(after)}", source.name)
    return named is not None and path.parent.resolve() == source.parent.resolve()


def foretell_size(target: str, facts: SinkFacts, *, per_frame: float, copies: int, saved: str) -> str | None:
    """`Sink.foretell` of a file that holds all depth.

    per_frame: bytes. copies: how often it is on the disk until it is finished. saved: how much of it `compress` saves.
    """
    info = facts.info
    size = per_frame * (info.frames or 0)
    folder = Path(target).absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    what = f"{info.frames} frames of {info.width}x{info.height} are {size / 2**30:.1f} GiB"
    if free < (size if facts.compress else copies * size):
        more = ", twice that until it is finished," if copies == 2 else ""
        raise InputError(
            f"{target}: {what}{more} and the disk has {free / 2**30:.1f} GiB; take fewer frames, or 16-bit images: -o "
            f"'{Path(target).stem}/%06d.png'"
        )
    if size < _LARGE:
        return None
    less = f"--compress saves {saved}" if not facts.compress else f"compressed {saved} less"
    return f"{target}: {what}; {less}, 16-bit images are smaller"


def is_pattern(path: Path) -> bool:
    """Whether a name has one place for the frame's number, such as %06d."""
    return len(_NUMBER.findall(path.name)) == 1


def numbered(path: Path, number: int) -> Path:
    """The file of a frame, by a pattern and the frame's number."""
    return path.with_name(_NUMBER.sub(lambda place: place[0] % number, path.name))


def depth_sidecar(path: Path) -> Path:
    """The file beside those of a pattern that says what they hold: "depth" for the number, and JSON; beside a file
    without a number its own name."""
    return path.with_name(_NUMBER.sub("depth", path.name)).with_suffix(".json")


def renamed(path: Path, name: Path) -> Path:
    """A file under a new name; under its old one where that cannot be."""
    try:
        return path.replace(name)
    except OSError:
        return path
