"""Outputs by what they are called: `open_sink`. Which there are, and what each needs, the modules in `formats` say."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Sequence
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from pkgutil import iter_modules

from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks import formats
from vmdepth_runtime.sinks.base import Sink, SinkFacts, writing
from vmdepth_runtime.sinks.files import NAME, FileSink, OneFileSink, PerFrameSink, check_one_frame
from vmdepth_runtime.sinks.pictures import PictureSink
from vmdepth_runtime.sources.uri import scheme_of


def _find_kinds() -> tuple[type[Sink], ...]:
    """The sinks of every module in `formats`, files first, each group in order of what they are called."""
    modules = [import_module(f"{formats.__name__}.{module.name}") for module in iter_modules(formats.__path__)]
    kinds = {
        kind
        for module in modules
        for kind in vars(module).values()
        # To Python 3.10 `list[int]` is a type as well, and no class.
        if isinstance(kind, ABCMeta) and issubclass(kind, Sink) and not isabstract(kind)
    }
    return tuple(sorted(kinds, key=lambda kind: (not issubclass(kind, FileSink), _label(kind))))


def _label(kind: type[Sink]) -> str:
    return kind.ending if issubclass(kind, FileSink) else kind.example


KINDS = _find_kinds()


def check_output(target: str, sources: Sequence[Path] = (), *, has_camera: bool = False) -> None:
    """Look, before any work and without touching anything, whether an output can be made.

    Args:
        target: as `-o` takes it.
        sources: those of the run that are files, folders or patterns, which must not be harmed.
        has_camera: whether the run knows its camera.

    Raises:
        InputError: there is no sink for the target, or it cannot be opened there; says what to do.
    """
    _kind_of(target).check(target, sources, has_camera=has_camera)


def check_frames(target: str, source: str, frames: int | None) -> None:
    """Raise InputError where a source has more frames than an output has room for.

    target: as `-o` takes it. source: its name, for people. frames: how many it gives; None: nobody knows.
    """
    if issubclass(_kind_of(target), PerFrameSink):
        check_one_frame(target, source, frames)


def is_file(target: str) -> bool:
    """Whether an output is a file, or several."""
    return issubclass(_kind_of(target), FileSink)


def is_one_file(target: str) -> bool:
    """Whether an output is one file for all frames, which have one size then."""
    return issubclass(_kind_of(target), OneFileSink)


def is_coloured(target: str, *, colour: bool, kind: DepthKind | None = None) -> bool:
    """Whether an output shows depth in colours. colour: whether the run wants that of outputs that may. kind: of the
    depth; None: that is not known, and any may come."""
    return _kind_of(target).shows_colour(colour, kind)


def needs_range(target: str, kind: DepthKind) -> bool:
    """Whether an output shows depth of a kind on a scale of its own, so that it is worth knowing what depth there will
    be."""
    return _kind_of(target).scales(kind)


def needs_camera(target: str) -> bool:
    """Whether an output can do nothing without a camera."""
    return _kind_of(target).needs_camera


def takes_camera(target: str) -> bool:
    """Whether an output has a use for a camera."""
    kind = _kind_of(target)
    return kind.needs_camera or kind.takes_camera


def has_clouds(target: str) -> bool:
    """Whether an output has clouds of points wherever the camera is known."""
    return _kind_of(target).has_clouds


def is_recording(target: str) -> bool:
    """Whether an output is a recording of a robot."""
    return _kind_of(target).records


def is_for_eyes(target: str) -> bool:
    """Whether an output is a picture to look at, of a limited height."""
    return _kind_of(target).for_eyes


def foretell(target: str, facts: SinkFacts) -> str | None:
    """Look, once the source is known and before anything is written, how large an output will be.

    Args:
        target: as `-o` takes it.
        facts: of the run.

    Returns:
        A line that is worth telling; None for what is not large.

    Raises:
        InputError: there is no room for it; says what to do.
    """
    return _kind_of(target).foretell(target, facts)


def open_sink(target: str | Path, facts: SinkFacts) -> Sink:
    """Open an output by what it is called. Ask `check_output` before any work is done.

    ```python
    from vmdepth_runtime import DepthStream, SinkFacts, open_sink, open_source
    from vmdepth_runtime.depth.colour_map import colourise

    with DepthStream() as stream, open_source("demo") as source, open_sink("out.mp4", SinkFacts(source.info)) as sink:
        for frame in source:
            depth = stream(frame.image).depth
            sink.write(frame, depth, colourise(depth, depth.min(), depth.max()))
    ```

    Args:
        target: as `-o` of `vmdepth-run` takes it.
        facts: what the output has to know of the run.

    Returns:
        The open sink, to be closed (`with`).

    Raises:
        InputError: there is no sink for the target.
        WorkError: it cannot be opened.
    """
    kind = _kind_of(str(target))
    with writing(target):
        return kind(target, facts)


def open_picture_sink(target: str, facts: SinkFacts) -> Sink:
    """Open an output for pictures that each stand on their own: of files one for each picture; another kind is opened
    as ever. Arguments and errors as of `open_sink`."""
    kind = _kind_of(target)
    if not issubclass(kind, FileSink):
        return open_sink(target, facts)
    return PictureSink(target, facts, kind)


def output_help() -> str:
    """What `-o` takes, for `--help`."""
    return "; ".join(_known(one_file="OUT", remarks=True))


def camera_endings() -> str:
    """The endings of outputs that have a use for a camera, for `--help`."""
    files = [kind for kind in KINDS if issubclass(kind, FileSink)]
    return _listed([kind.ending for kind in files if kind.needs_camera or kind.takes_camera])


def _kind_of(target: str) -> type[Sink]:
    kind = next((kind for kind in KINDS if kind.accepts(target)), None)
    if kind is not None:
        return kind
    if scheme_of(target) is not None:
        raise InputError(f"{target}: {'; '.join(kind.address for kind in KINDS if kind.address)}")
    ending = Path(target).suffix.lower()
    what = f"unknown output ending '{ending}'"
    if not ending:
        what = f"has no ending, which says what is written; into a folder: '{Path(target) / NAME}.mp4' or .png"
    *known, last = _known()
    raise InputError(f"{target}: {what}; there are {', '.join(known)} and {last}")


def _known(one_file: str = "", *, remarks: bool = False) -> list[str]:
    """The targets there are. one_file: what stands before the ending of one file. remarks: whether with what is worth
    knowing of each, in brackets."""

    def described(kind: type[Sink]) -> str:
        return f"{_label(kind)} ({kind.remark})" if remarks and kind.remark else _label(kind)

    per_frame = _listed([described(kind) for kind in KINDS if issubclass(kind, PerFrameSink)], last="or")
    return [
        *(f"{one_file}{described(kind)}" for kind in KINDS if issubclass(kind, OneFileSink)),
        f"one file per frame as DIR/%06d{per_frame}",
        *(described(kind) for kind in KINDS if not issubclass(kind, FileSink)),
    ]


def _listed(words: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
