"""`vmdepth-run`: a video, a folder of images or a pipe in; depth out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.contract import RESIZES, Resize
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import check_target, write_report

if TYPE_CHECKING:
    from vmdepth_runtime.colour import ColourRange
    from vmdepth_runtime.interrupt import Interruptible
    from vmdepth_runtime.measures import RunStatistics
    from vmdepth_runtime.sinks import Sink
    from vmdepth_runtime.sources import Source
    from vmdepth_runtime.stream import DepthStream

BACKENDS = ("auto", "onnxruntime")
RANGE_FRAMES = 8  # frames the colour range of a file is chosen from
_NAMED = 10  # skipped frames told one by one on the terminal; the report has all


@dataclass(frozen=True)
class RunSettings:
    """What `vmdepth-run` was asked for. outputs: none means `<source>.depth.mp4` in the current folder. model: None is
    the bundled one. threads: None is all cores. resize: how a frame becomes the model's size."""

    source: Path
    outputs: tuple[Path, ...] = ()
    model: Path | None = None
    backend: str = "auto"
    threads: int | None = None
    resize: Resize = "area"
    report: Path | None = None


@click.command("vmdepth-run")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", "outputs", multiple=True, type=click.Path(path_type=Path),
              help="Where depth goes, by its ending: .mp4 (side by side) or .npz (raw); may be given several times. "
                   "Default: SOURCE's name with .depth.mp4, in the current folder.")  # fmt: skip
@click.option("--model", type=click.Path(path_type=Path), help="Step graph (.onnx). Default: the bundled one.")
@click.option("--backend", type=click.Choice(BACKENDS), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads for the network. Default: all cores.")
@click.option("--resize", type=click.Choice(RESIZES), default="area", show_default=True,
              help="How a frame becomes the model's size; cubic is how Depth Anything does it.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), help="Write counts, times and memory there, as JSON.")
def command(**options: Any) -> None:
    """Depth for every frame of SOURCE: a video file, a folder of images, a pipe such as /dev/stdin, or "demo",
    the bundled clip.

    An output that exists already is replaced when the new one is complete. Frames that cannot be read are skipped and
    named. Ctrl-C finishes what was done so far.
    """
    report = run(RunSettings(**options))
    if report["interrupted"]:
        raise click.exceptions.Exit(130)


def main() -> NoReturn:
    """The console script."""
    run_command(command)


def run(settings: RunSettings) -> dict[str, Any]:
    """Do what the command does; return the report (as `--report` writes it).

    Raises InputError on bad input, before anything is written; WorkError when an output cannot be written.
    """
    outputs = settings.outputs or (_default_output(settings.source),)
    _check_targets(settings, outputs)

    from vmdepth_runtime.interrupt import Interruptible
    from vmdepth_runtime.measures import RunStatistics
    from vmdepth_runtime.sinks import open_sink
    from vmdepth_runtime.sources import open_source
    from vmdepth_runtime.stream import DepthStream

    statistics = RunStatistics()
    with ExitStack() as stack:
        stream = stack.enter_context(DepthStream(settings.model, threads=settings.threads, resize=settings.resize))
        source = stack.enter_context(open_source(settings.source))
        _check_size(source)
        colours = choose_range(stream, source) if any(_shows_colour(path) for path in outputs) else None
        interrupt = stack.enter_context(Interruptible())
        sinks = [stack.enter_context(open_sink(path, source.info)) for path in outputs]
        start = perf_counter()
        shown = _loop(source, stream, colours, sinks, statistics, interrupt)
        finishing = perf_counter()
        for sink in sinks:
            sink.close()
        statistics.stage_seconds["encode"] += perf_counter() - finishing
        statistics.seconds = perf_counter() - start
        report = _report(settings, source, stream, colours, shown, sinks, statistics, interrupt)
        if settings.report is not None:
            write_report(report, settings.report)
    _tell(report)
    return report


def _loop(
    source: Source,
    stream: DepthStream,
    colours: ColourRange | None,
    sinks: list[Sink],
    statistics: RunStatistics,
    interrupt: Interruptible,
) -> tuple[float, float] | None:
    """Every frame from the source to the sinks; returns the colour range of the last one."""
    import numpy as np

    from vmdepth_runtime.colour import colourise

    frames = iter(source)
    picture = np.zeros((source.info.height, source.info.width, 3), np.uint8)
    bounds = None
    with _progress(source, statistics) as advance:
        while True:
            start = perf_counter()
            frame = interrupt.next_of(frames)
            if frame is None:
                return bounds
            decoded = perf_counter()
            result = stream(frame.image)
            stepped = perf_counter()
            if colours is not None:
                bounds = colours.update(result.model_depth, frame.time)
                colourise(result.depth, *bounds, out=picture)
            coloured = perf_counter()
            for sink in sinks:
                sink.write(frame, result.depth, picture)
            statistics.add_frame(
                decode=decoded - start,
                latency=stepped - decoded,
                step=result.step_ms / 1e3,
                colour=coloured - stepped,
                encode=perf_counter() - coloured,
            )
            advance()


def choose_range(stream: DepthStream, source: Source) -> ColourRange:
    """One colour range for the whole source, from a few frames spread over it; a slowly running one where the source
    cannot be looked at beforehand. Leaves the stream reset."""
    from vmdepth_runtime.colour import FixedRange, RunningRange

    larger_is_nearer = stream.contract.depth_kind == "relative"
    stream.reset()
    # In order and with the states carried on: a network that has seen nothing may judge depth on another scale.
    depths = [stream(image).model_depth.copy() for image in source.sample(RANGE_FRAMES)]
    stream.reset()
    if not depths:
        return RunningRange(larger_is_nearer=larger_is_nearer)
    return FixedRange.of(depths, larger_is_nearer=larger_is_nearer)


def _default_output(source: Path) -> Path:
    name = source.resolve().name if source.is_dir() else source.stem
    return Path(f"{name}.depth.mp4")


def _shows_colour(path: Path) -> bool:
    return path.suffix.lower() == ".mp4"


def _check_targets(settings: RunSettings, outputs: tuple[Path, ...]) -> None:
    from vmdepth_runtime.sinks import check_output

    for path in outputs:
        check_output(path, settings.source)
    if settings.report is not None:
        check_target(settings.report, settings.source)
    targets = [*outputs, *([settings.report] if settings.report is not None else [])]
    resolved = [path.resolve() for path in targets]
    for path, place in zip(targets, resolved, strict=True):
        if resolved.count(place) > 1:
            raise InputError(f"{path}: is named as an output twice; give each its own name")


def _check_size(source: Source) -> None:
    from vmdepth_runtime.stream import MIN_SIDE

    width, height = source.info.width, source.info.height
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{source.path}: its frames are {width}x{height}; at least {MIN_SIDE}x{MIN_SIDE} is needed")


def _report(
    settings: RunSettings,
    source: Source,
    stream: DepthStream,
    colours: ColourRange | None,
    shown: tuple[float, float] | None,
    sinks: list[Sink],
    statistics: RunStatistics,
    interrupt: Interruptible,
) -> dict[str, Any]:
    info, contract = source.info, stream.contract
    notes = [note for sink in sinks for note in sink.notes]
    return {
        "source": {
            "path": str(settings.source),
            "width": info.width,
            "height": info.height,
            "fps": round(info.fps, 3),
            "promised_frames": info.frames,
        },
        "model": {
            "file": str(stream.model),
            "name": contract.model,
            "weights_hash": contract.weights_hash,
            "size": [contract.height, contract.width],
            "resize": settings.resize,
            "depth_kind": contract.depth_kind,
        },
        "backend": "onnxruntime",
        "interrupted": interrupt.pressed,
        "frames_in": statistics.frames_out + len(source.skipped),
        "skipped": [{"index": s.index, "name": s.name, "reason": s.reason} for s in source.skipped],
        "warnings": [*source.warnings, *notes],
        "colour_range": None if shown is None else {"kind": type(colours).__name__, "low": shown[0], "high": shown[1]},
        **statistics.as_dict(),
        "outputs": [str(sink.path) for sink in sinks if sink.frames],
    }


def _tell(report: dict[str, Any]) -> None:
    """The closing lines on stderr."""
    skipped, latency = report["skipped"], report["latency_ms"]
    for one in skipped[:_NAMED]:
        _say(f"skipped frame {one['index']} ({one['name']}): {one['reason']}")
    if len(skipped) > _NAMED:
        _say(f"skipped {len(skipped) - _NAMED} more frames; --report names them all")
    for warning in report["warnings"]:
        _say(f"warning: {warning}")
    state = "interrupted: " if report["interrupted"] else ""
    _say(
        f"{state}{report['frames_in']} frames in, {report['frames_out']} out, {len(skipped)} skipped, "
        f"{report['fps']:.1f} fps, latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms"
    )
    if report["outputs"]:
        _say(f"wrote {', '.join(report['outputs'])}")


def _say(line: str) -> None:
    print(f"vmdepth-run: {line}", file=sys.stderr)


@contextmanager
def _progress(source: Source, statistics: RunStatistics) -> Iterator[Any]:
    """Gives a function to call after each frame: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    start = perf_counter()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(source.path.name, total=source.info.frames, speed="")

        def advance() -> None:
            fps = statistics.frames_out / (perf_counter() - start)
            bar.update(task, advance=1, speed=f"{fps:.1f} fps, step {statistics.latency(50, last=100):.1f} ms")

        yield advance
