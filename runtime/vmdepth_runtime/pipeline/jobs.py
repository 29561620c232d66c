"""What a run was asked for as jobs: one source each, with what it is called and where its depth goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.pipeline.reporter import say
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.sinks.files import NAME
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.folder import FolderSource, are_pictures
from vmdepth_runtime.sources.listing import (
    Listing,
    are_counted,
    choices,
    distinct,
    is_pattern,
    is_picture,
    is_recording,
    list_files,
)
from vmdepth_runtime.sources.open import open_source
from vmdepth_runtime.sources.uri import local_path, short_name

_NAMED = 5  # of what a folder holds and is not read


@dataclass(frozen=True)
class Job:
    """One source and its outputs.

    Attributes:
        source: As `open_source` takes it; for images that were found, what they are called together.
        name: What its outputs are called after.
        files: The images of a folder or pattern, or the pictures that were named one by one; of other sources none.
        listed: Whether they are those of a folder or pattern.
        pictures: Whether each stands on its own.
        recording: Whether it is what a robot recorded.
        outputs: Where its depth goes; "{name}" is left in them for pictures alone.
        colour: Whether pictures of depth are coloured.
    """

    source: str
    name: str = ""
    files: tuple[Path, ...] = ()
    listed: bool = False
    pictures: bool = False
    recording: bool = False
    outputs: tuple[str, ...] = ()
    colour: bool = False

    def open(self, settings: RunSettings) -> Source:
        """Open the source and read its first frame. Raises InputError."""
        if self.files:
            return FolderSource(Path(self.source), self.files, pictures=self.pictures, read=settings.read)
        return open_source(self.source, settings.live, read=settings.read, waiting=say)

    @property
    def paths(self) -> list[Path]:
        """The files, folders and patterns that it reads."""
        path = local_path(self.source)
        return [Path(self.source)] if self.listed else list(self.files) or ([] if path is None else [path])


def plan_jobs(settings: RunSettings) -> tuple[list[Job], list[str]]:
    """The jobs of a run, in the order of its sources. Looks at folders and headers of images, and touches nothing.

    Returns:
        The jobs, and a line for each thing that was found and is not taken, or may be meant otherwise.
    """
    jobs: list[Job] = []
    remarks: list[str] = []
    loose: list[Path] = []  # pictures that were named one by one, which are one set
    for source in settings.sources:
        path = local_path(source) if source else None  # "", which is no folder either, is refused when it is opened
        if path is not None and is_picture(path) and os.path.isfile(path):  # noqa: PTH113 (which never raises)
            if not loose or settings.streams:
                jobs.append(Job(str(path), files=(path,), pictures=True))
            loose.append(path)
        elif path is not None and is_recording(path):
            jobs.append(Job(source, recording=True))
        elif path is not None and (os.path.isdir(path) or is_pattern(path)):  # noqa: PTH112 (likewise)
            jobs += _found(path, settings.read.images, remarks)
        else:
            jobs.append(Job(source))
    if len(loose) > 1 and not settings.streams:
        whole = Job(f"{len(loose)} pictures", files=tuple(loose), pictures=True)
        jobs = [whole if job.files == (loose[0],) else job for job in jobs]
    names = _called(jobs)
    named = [replace(job, name=name) for job, name in zip(jobs, names, strict=True)]
    return [_with_outputs(job, number, settings) for number, job in enumerate(named)], remarks


def _found(path: Path, images: bool | None, remarks: list[str]) -> list[Job]:
    """The jobs of a folder or pattern; one that will tell what is wrong where nothing is found."""
    try:
        listing = list_files(path)
    except InputError:
        return [Job(str(path))]
    if listing.outputs:
        remarks.append(f"{path}: {_number(listing.outputs, 'file')} not taken, as named *.depth.* by an earlier run")
    if listing.unread:
        remarks.append(_unread(path, listing.unread))
    if not listing.images:
        return [Job(str(video), recording=is_recording(video)) for video in listing.videos]
    if listing.videos:
        remarks.append(_not_taken(path, listing))
    files = tuple(listing.images)
    pictures = are_pictures(files, images)
    if images is None and not pictures and not are_counted(files):
        remarks.append(
            f"{path}: its {len(files)} images are of one size and taken as the frames of a video; --images takes each "
            "on its own"
        )
    return [Job(str(path), files=files, listed=True, pictures=pictures)]


def _unread(path: Path, names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    into = "; folders in it are not looked into" if any(name.endswith("/") for name in names) else ""
    return f"{path}: not read: {', '.join(names[:_NAMED])}{more}{into}"


def _not_taken(path: Path, listing: Listing) -> str:
    folder = path if path.is_dir() else path.parent
    both = {image.suffix for image in listing.images}  # a GIF is either
    names = [video.name for video in listing.videos if video.suffix in both]
    endings = {f"*{video.suffix}" for video in listing.videos if video.suffix not in both}
    there = " ".join(f"'{folder / name}'" for name in [*sorted(endings), *names[:_NAMED]])
    there += f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    images, videos = _number(len(listing.images), "image"), _number(len(listing.videos), "video")
    return f"{path}: its {images} taken, {videos} not; {there} takes those"


def _called(jobs: Sequence[Job]) -> list[str]:
    """What each job is called; a source that is given twice is told apart by a number alone."""
    wanted = [_names(job) for job in jobs]
    once = list(dict.fromkeys(wanted))
    names = dict(zip(once, distinct(once), strict=True))
    return distinct([(names[choice],) for choice in wanted])


def _names(job: Job) -> tuple[str, ...]:
    """What a job may be called, the shortest first."""
    path = local_path(job.source)
    short = short_name(job.source)
    if path is None or short != path.stem:
        return (short,) * len(choices(Path(short)))
    return choices(path)


def _with_outputs(job: Job, number: int, settings: RunSettings) -> Job:
    if not settings.outputs:
        target = f"{job.name}.depth.mp4"
        if job.pictures:
            target = f"{job.name}.depth/{NAME}.png" if job.listed else f"{NAME}.depth.png"
        return replace(job, outputs=(target,), colour=True)
    # A shell leaves "~" in what is quoted, as names with {name} are.
    outputs = [os.path.expanduser(output).replace("{}", str(number)) for output in settings.outputs]  # noqa: PTH111
    if not job.pictures:
        outputs = [output.replace(NAME, job.name) for output in outputs]
    return replace(job, outputs=tuple(outputs), colour=settings.colour)


def _number(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"
