"""Where depth goes, by the ending of a name: `open_sink`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vmdepth_runtime.atomic_files import check_target
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.arrays import NpzSink, RawSink
from vmdepth_runtime.sinks.base import Sink, SinkFacts, writing
from vmdepth_runtime.sinks.display import DisplaySink, check_display
from vmdepth_runtime.sinks.mp4 import Mp4Sink
from vmdepth_runtime.sinks.per_frame import ExrSink, NpySink, PlySink, PngSink, is_pattern
from vmdepth_runtime.sinks.web_page import PageSink, address_of
from vmdepth_runtime.sources.uri import scheme_of

_ONE_FILE: dict[str, Callable[[Path, SinkFacts], Sink]] = {".mp4": Mp4Sink, ".npz": NpzSink}
_PER_FRAME: dict[str, Callable[[Path, SinkFacts], Sink]] = {
    ".png": PngSink,
    ".npy": NpySink,
    ".exr": ExrSink,
    ".ply": PlySink,
}


def check_output(target: str, sources: Sequence[Path] = (), *, has_camera: bool = False) -> None:
    """Raise InputError unless there is a sink for `target`, and it can be opened there without harm to the sources.

    sources: those that are files, folders or patterns. Touches nothing.
    """
    if target == "-":
        return
    if target == "display":
        check_display()
        return
    if scheme_of(target) is not None:
        address_of(target)
        return
    path = Path(target)
    ending = path.suffix.lower()
    if ending in _ONE_FILE:
        if is_pattern(path):
            raise InputError(f"{target}: {ending} is one file for all frames; leave out the number")
        check_target(path)
        for source in sources:
            check_target(path, source)
        return
    if ending not in _PER_FRAME:
        raise InputError(
            f"{target}: unknown output ending '{ending}'; there are .mp4, .npz, one file per frame as "
            "DIR/%06d.png, .npy, .exr or .ply, '-', 'display' and http://127.0.0.1:8080"
        )
    if not is_pattern(path):
        raise InputError(f"{target}: {ending} is one file per frame; give it a number, as in {path.stem}/%06d{ending}")
    if ending == ".ply" and not has_camera:
        raise InputError(f"{target}: points need the camera; give --fov DEGREES or --intrinsics FX,FY,CX,CY")
    folder = path.parent if os.path.exists(path.parent) else path.parent.parent  # noqa: PTH110 (which never raises)
    if not os.path.isdir(folder):  # noqa: PTH112 (which never raises)
        raise InputError(f"{target}: the folder {folder} is not there; make it first")
    check_target(folder / "depth")
    for source in sources:
        if path.parent.resolve() in (source.resolve(), source.parent.resolve()):
            raise InputError(f"{target}: would be written among the source's own files; choose another folder")


def needs_range(target: str) -> bool:
    """Whether an output shows depth on a scale of its own, so that it is worth knowing what depth there will be."""
    return (
        target == "display" or scheme_of(target) is not None or Path(target).suffix.lower() in (".mp4", ".png", ".ply")
    )


def open_sink(target: str | Path, facts: SinkFacts) -> Sink:
    """A sink by what the target is called. Raises InputError on what there is no sink for, WorkError when it cannot be
    opened. Ask `check_output` before any work is done."""
    name = str(target)
    if name == "-":
        return RawSink(facts)
    if name == "display":
        return DisplaySink(facts)
    if scheme_of(name) is not None:
        return PageSink(name, facts)
    path = Path(target)
    kind = (_ONE_FILE | _PER_FRAME).get(path.suffix.lower())
    if kind is None:
        check_output(name)
        raise AssertionError("check_output refuses what no sink is for")
    with writing(path):
        return kind(path, facts)
