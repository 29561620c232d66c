"""`vmdepth-run`: videos, folders, pipes, cameras and network streams in; depth out."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Condition
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmdepth_runtime import bundled
from vmdepth_runtime.atomic_files import check_target, write_report
from vmdepth_runtime.cli import LateHelpOption, run_command
from vmdepth_runtime.contract import RESIZES, Resize, StepContract
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sources.uri import local_path, short_name

if TYPE_CHECKING:
    from vmdepth_runtime.depth.colour_map import ColourRange
    from vmdepth_runtime.depth.keyframes import KeyframeSettings
    from vmdepth_runtime.sessions.base import Device
    from vmdepth_runtime.sinks.base import PinholeCamera, SinkFacts
    from vmdepth_runtime.sources.base import Source

BACKENDS = ("auto", "onnxruntime", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class RunSettings:
    """What `vmdepth-run` was asked for. outputs: none means `<source>.depth.mp4` in the current folder; "{}" in a name
    is the number of the source. model: None is the bundled one. threads: None is all cores. device: None is CUDA where
    there is one. resize: how a frame becomes the model's size. depth_only: videos without the source. fov: degrees that
    a frame is wide; intrinsics: fx, fy, cx, cy in pixels. keyframes: None switches anchoring off, else what differs
    from the model's own settings. retries, max_gap, stall: of live sources, see `LiveSettings`; stall is also when a
    stage counts as stalled. strict: stop when the network gives what is not finite. verify: compare the model's file
    with its digest before it runs."""

    sources: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    model: Path | None = None
    backend: str = "auto"
    device: Device | None = None
    threads: int | None = None
    resize: Resize = "area"
    depth_only: bool = False
    fov: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    keyframes: dict[str, Any] | None = None
    retries: int | None = None
    max_gap: float = 2.0
    stall: float = 5.0
    strict: bool = False
    verify: bool = True
    report: Path | None = None


def _output_help() -> str:
    from vmdepth_runtime.sinks.open import output_help

    return (
        f"Where depth goes; may be given several times. {output_help()}. '{{}}' is the source's number. Default: "
        "SOURCE's name with .depth.mp4, here."
    )


def _camera_help(what: str) -> str:
    from vmdepth_runtime.sinks.open import camera_endings

    return f"{what}, for {camera_endings()}."


@click.command("vmdepth-run")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("-o", "--output", "outputs", multiple=True, cls=LateHelpOption, late_help=_output_help)
@click.option("--model", type=click.Path(path_type=Path),
              help="Step graph (.onnx) or engine (.engine). Default: the bundled one.")  # fmt: skip
@click.option("--backend", type=click.Choice(BACKENDS), default="auto", show_default=True,
              help="What has to run it; auto is what the model is made for.")  # fmt: skip
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="For a step graph. Default: cuda where there is one."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads for the network on the CPU. Default: all cores.")
@click.option("--resize", type=click.Choice(RESIZES), default="area", show_default=True,
              help="How a frame becomes the model's size; cubic is how Depth Anything does it.")  # fmt: skip
@click.option("--depth-only", is_flag=True, help="Videos, windows and pages without the source beside the depth.")
@click.option("--fov", type=click.FloatRange(1, 179), cls=LateHelpOption,
              late_help=partial(_camera_help, "Degrees that a frame is wide"))  # fmt: skip
@click.option("--intrinsics", metavar="FX,FY,CX,CY", cls=LateHelpOption,
              late_help=partial(_camera_help, "Of the source's frames, in pixels"))  # fmt: skip
@click.option("--keyframes/--no-keyframes", "anchored", default=True, show_default=True,
              help="Go back to earlier states and scale when a place is seen again.")  # fmt: skip
@click.option("--keyframe-capacity", type=int, help="Key frames at most.  [default: the model's]")
@click.option("--keyframe-interval", type=int, help="Frames between two key frames.  [default: the model's]")
@click.option("--keyframe-min-gap", type=int, help="Frames until a key frame may be gone back to.  [the model's]")
@click.option("--keyframe-similarity", type=float, help="Cosine from which places are the same.  [the model's]")
@click.option("--keyframe-max-state-change", type=float, help="Above it the scale is not touched.  [the model's]")
@click.option("--keyframe-memory", type=float, metavar="MIB", help="That key frames may take, per source.  [256]")
@click.option("--keyframe-follow", type=float, help="Share of the way to the fitted scale per frame.  [0.1]")
@click.option("--keyframe-drift", type=float, help="Share of the depth that may be off before it is touched.  [0.25]")
@click.option("--retries", type=click.IntRange(min=0),
              help="How often in a row a lost live source is opened again. Default: for ever.")  # fmt: skip
@click.option("--max-gap", type=click.FloatRange(min=0), default=2.0, show_default=True, metavar="SECONDS",
              help="Without a frame of a live source, after which its stream starts anew.")  # fmt: skip
@click.option("--stall", type=click.FloatRange(min=0.1), default=5.0, show_default=True, metavar="SECONDS",
              help="After which a live source without a frame is lost, and a stage counts as stalled.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Stop when the network gives what is not finite.")
@click.option("--verify/--no-verify", default=True, show_default=True,
              help="Check first that the model's file is as it was written.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), help="Write counts, times and decisions there, as JSON.")
def command(anchored: bool, intrinsics: str | None, **options: Any) -> None:
    """Depth for every frame of SOURCE: a video, a folder of images, a pattern (frames/%06d.png, 'frames/*.png'), a pipe
    (/dev/stdin), a camera (0, /dev/video0, csi://0), an address (rtsp://, rtmp://, http://), or "demo", the bundled
    clip. Several sources go through one model made with vmdepth-export --streams.

    Every frame of a file is used; of a live source the newest, and a lost one is opened again. Frames that cannot be
    read are skipped and named. An output that exists already is replaced when the new one is complete. Ctrl-C finishes
    what was done so far.
    """
    keyframes = {name.removeprefix("keyframe_"): options.pop(name) for name in list(options) if "keyframe_" in name}
    settings = RunSettings(
        **options, keyframes=keyframes if anchored else None, intrinsics=_parse_intrinsics(intrinsics)
    )
    report = run(settings)
    if report["interrupted"]:
        raise click.exceptions.Exit(130)


def main() -> NoReturn:
    """The console script."""
    run_command(command)


def run(settings: RunSettings) -> dict[str, Any]:
    """Do what the command does; return the report (as `--report` writes it).

    Raises InputError on bad input, before anything is written; WorkError when an output cannot be written.
    """
    targets = _targets(settings)
    _check_targets(settings, targets)

    from vmdepth_runtime.depth.colour_map import choose_ranges
    from vmdepth_runtime.depth.stream_batch import StreamBatch
    from vmdepth_runtime.pipeline.interrupt import Interruptible
    from vmdepth_runtime.pipeline.loop import run_pipeline
    from vmdepth_runtime.pipeline.reader import Feed
    from vmdepth_runtime.pipeline.report import Telling, make_report
    from vmdepth_runtime.pipeline.statistics import RunStatistics
    from vmdepth_runtime.pipeline.watchdog import Watchdog
    from vmdepth_runtime.pipeline.writer import Writer
    from vmdepth_runtime.sessions.load import load_session
    from vmdepth_runtime.sinks.open import needs_range, open_sink
    from vmdepth_runtime.sources.base import LiveSettings
    from vmdepth_runtime.sources.live import LiveSource
    from vmdepth_runtime.sources.open import open_source
    from vmdepth_runtime.stage_timer import StageTimer

    model = settings.model or bundled.MODEL
    statistics = RunStatistics(len(settings.sources))
    with ExitStack() as stack:
        session = load_session(model, settings.threads, settings.device, verify=settings.verify)
        stack.callback(session.close)
        _check_model(settings, session.contract, model)
        live = LiveSettings(settings.retries, settings.max_gap, settings.stall)
        sources = [stack.enter_context(open_source(source, live)) for source in settings.sources]
        for source in sources:
            _check_size(source)
        anchoring = _keyframe_settings(settings, session.contract)
        pairs = zip(sources, targets, strict=True)
        looked_at = [source if any(map(needs_range, names)) else None for source, names in pairs]
        colours = choose_ranges(session, looked_at, settings.resize)
        batch = StreamBatch(session, resize=settings.resize, keyframes=anchoring)
        telling = stack.enter_context(Telling(sources, statistics))
        telling.start(batch)

        interrupt = stack.enter_context(Interruptible())
        feeds: list[Feed] = []
        writers: list[Writer] = []
        size = (session.contract.height, session.contract.width)
        for stream, source in enumerate(sources):
            facts = _facts(settings, source, session.contract, colours[stream], partial(telling.status, feeds, batch))
            sinks = [stack.enter_context(open_sink(target, facts)) for target in targets[stream]]
            shown = colours[stream] if any(sink.wants_colour for sink in sinks) else None
            writers.append(Writer(source.name, source.info, sinks, shown, settings.resize, size))
            stack.callback(writers[-1].stop)
        changed = Condition()
        for source in sources:
            feeds.append(Feed(source, size, settings.resize, changed))
            stack.callback(feeds[-1].close)
        stepping = StageTimer("the network")
        reading = [feed.source.timer if isinstance(feed.source, LiveSource) else feed.pulse for feed in feeds]
        pulses = [*reading, stepping, *(writer.pulse for writer in writers)]
        watchdog = stack.enter_context(Watchdog(pulses, settings.stall, telling.say))
        failure: InputError | WorkError | None = None
        start = perf_counter()
        try:
            advance = partial(telling.advance, feeds=feeds, batch=batch)
            run_pipeline(feeds, batch, writers, statistics, interrupt, stepping, advance, strict=settings.strict)
            for writer in writers:
                writer.finish(interrupt)
        except BaseException as error:
            # Whatever happened: hours of depth are not to go with it.
            if isinstance(error, Exception):
                failure = error if isinstance(error, (InputError, WorkError)) else _broken_off(error)
            for line in [line for writer in writers for line in writer.rescue()]:
                if failure is not None and line.startswith(str(failure)):
                    failure = WorkError(line)  # which says what became of the output, too
                else:
                    telling.say(line)
            if failure is None:
                raise
        statistics.seconds = perf_counter() - start
        report = make_report(
            settings,
            batch,
            feeds,
            writers,
            statistics,
            interrupted=interrupt.pressed,
            stalls=watchdog.stalls,
            failure=None if failure is None else str(failure),
        )
        if settings.report is not None:
            try:
                write_report(report, settings.report)
            except WorkError as error:
                if failure is None:
                    raise
                telling.say(str(error))
        if failure is not None:
            raise failure
        telling.finish(report)
    return report


def _broken_off(error: Exception) -> WorkError:
    what = " ".join(str(error).split())[:300]
    failure = WorkError(f"the run broke off: {type(error).__name__}: {what}; what was done is kept")
    failure.__cause__ = error
    return failure


def _targets(settings: RunSettings) -> list[tuple[str, ...]]:
    """The outputs of each source."""
    if not settings.outputs:
        return [(f"{short_name(source)}.depth.mp4",) for source in settings.sources]
    return [
        tuple(output.replace("{}", str(number)) for output in settings.outputs)
        for number in range(len(settings.sources))
    ]


def _check_targets(settings: RunSettings, targets: list[tuple[str, ...]]) -> None:
    from vmdepth_runtime.sinks.open import check_output

    has_camera = settings.fov is not None or settings.intrinsics is not None
    sources = [path for source in settings.sources if (path := local_path(source)) is not None]
    for outputs in targets:
        for output in outputs:
            check_output(output, sources, has_camera=has_camera)
    if settings.report is not None:
        check_target(settings.report)
        for source in sources:
            check_target(settings.report, source)
    names = [output for outputs in targets for output in outputs]
    names += [str(settings.report)] if settings.report is not None else []
    places = [Path(name).resolve() for name in names]
    for name, place in zip(names, places, strict=True):
        if places.count(place) > 1:
            way_out = "give each its own name"
            if len(settings.sources) > 1 and settings.outputs.count(name) == 1:
                way_out = "with several sources put {} where their number goes, as in cam{}.mp4"
            raise InputError(f"{name}: is named as an output twice; {way_out}")


def _check_model(settings: RunSettings, contract: StepContract, model: Path) -> None:
    from vmdepth_runtime.sessions.engine_sidecar import read_sidecar

    count = len(settings.sources)
    if contract.streams != count:
        raise InputError(
            f"{model}: made for {_number(contract.streams, 'stream')} at once, and given {_number(count, 'source')}; "
            f"export it again with '--streams {count}'"
        )
    backend = read_sidecar(model)[1].target if model.suffix == ".engine" else "onnxruntime"
    if settings.backend not in ("auto", backend):
        raise InputError(f"--backend {settings.backend}: {model} is made for {backend}; 'vmdepth-export' makes others")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _check_size(source: Source) -> None:
    from vmdepth_runtime.depth.stream import MIN_SIDE

    width, height = source.info.width, source.info.height
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{source.name}: its frames are {width}x{height}; at least {MIN_SIDE}x{MIN_SIDE} is needed")


def _keyframe_settings(settings: RunSettings, contract: StepContract) -> KeyframeSettings | None:
    from vmdepth_runtime.depth.keyframes import KeyframeSettings

    if settings.keyframes is None or not contract.states:
        return None
    return KeyframeSettings.of(contract.keyframes, **settings.keyframes)


def _facts(
    settings: RunSettings,
    source: Source,
    contract: StepContract,
    colours: ColourRange,
    status: Callable[[], dict[str, Any]],
) -> SinkFacts:
    from vmdepth_runtime.depth.colour_map import FixedRange
    from vmdepth_runtime.sinks.base import SinkFacts

    return SinkFacts(
        source.info,
        depth_kind=contract.depth_kind,
        near=max(colours.low, colours.high) if isinstance(colours, FixedRange) else None,
        side_by_side=not settings.depth_only,
        camera=_camera(settings, source),
        status=status,
    )


def _camera(settings: RunSettings, source: Source) -> PinholeCamera | None:
    from vmdepth_runtime.sinks.base import PinholeCamera

    if settings.intrinsics is not None:
        return PinholeCamera(*settings.intrinsics)
    if settings.fov is None:
        return None
    width, height = source.info.width, source.info.height
    focal = width / 2 / math.tan(math.radians(settings.fov) / 2)
    return PinholeCamera(focal, focal, (width - 1) / 2, (height - 1) / 2)


def _parse_intrinsics(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--intrinsics {text}: should be FX,FY,CX,CY in pixels, for example 525,525,320,240") from None
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, (fx, fy, cx, cy)))):
        raise InputError(f"--intrinsics {text}: focal lengths are above 0, in pixels")
    return fx, fy, cx, cy
