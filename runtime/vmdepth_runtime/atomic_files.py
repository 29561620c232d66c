"""Files and folders that appear under their name only when they are whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmdepth_runtime.errors import InputError, WorkError


def check_target(path: Path, source: Path | None = None) -> None:
    """Raise InputError unless a file can be put at `path` without harm to `source`. To be asked before any work."""
    try:
        _check_target(path, source)
    except OSError as error:
        raise InputError(f"{path}: no file can be there ({error.strerror}); choose another output") from None


def _check_target(path: Path, source: Path | None) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} is not there; make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to; choose another one")
    part = part_name(path)
    if not part.exists():  # raises where the name is too long
        part.touch()  # and this where a folder takes no files whoever asks, as those of /proc
        part.unlink()
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is the source itself; choose another output")


def check_report(report: Path | None, *others: Path | None) -> None:
    """Raise InputError unless a report can be written, where one is wanted, without harm to the other files of a
    command, there or still to be made. To be asked before any work."""
    if report is None:
        return
    check_target(report)
    if any(other is not None and os.path.realpath(other) == os.path.realpath(report) for other in others):
        raise InputError(f"{report}: is no place for the report, as another file has it; choose another name")


def part_name(path: Path) -> Path:
    """The name beside `path` that a file has while it is being written."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def being_written(path: Path, part: Path) -> Iterator[None]:
    """A block that writes `part` and renames it to `path`. Raises WorkError when the disk does not take it; the part
    goes away, whatever happens."""
    try:
        with writing(path):
            yield
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that writes what will be `path`, and nothing else. Raises WorkError when the disk does not take it."""
    try:
        yield
    except OSError as error:
        raise WorkError(f"{path}: cannot be written ({error.strerror or error}); is the disk full?") from None


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """A file that appears when it is whole. Raises WorkError when that cannot be."""
    part = part_name(path)
    with being_written(path, part):
        part.write_bytes(content)
        part.replace(path)


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write figures as JSON. Raises WorkError when that cannot be done."""
    write_whole(path, (json.dumps(report, indent=2) + "\n").encode())


def check_folder(folder: Path) -> None:
    """Raise InputError unless a folder can be made at `folder`. To be asked before any work."""
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; name a folder that is to be made")
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder}: holds something already; name a folder that is to be made")
        if not folder.absolute().parent.is_dir():
            what = "is a file; choose another" if folder.parent.exists() else "is not there; make it first"
            raise InputError(f"{folder}: the folder {folder.parent} {what}")
    except OSError as error:
        raise InputError(f"{folder}: no folder can be there ({error.strerror}); choose another output") from None


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its name when the block is through, and goes away when it fails."""
    check_folder(folder)
    part = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.part")
    try:
        part.mkdir()
    except OSError as error:
        raise InputError(f"{folder}: no folder can be there ({error.strerror}); choose another output") from None
    try:
        yield part
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written ({error.strerror or error}); is the disk full?") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
