"""From settings to a pipeline: model, sources and outputs opened, and a thread for each that reads or writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from threading import Condition
from time import time_ns
from typing import Any

import cv2

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.colour_map import ColourRange, FixedRange, choose_ranges, palette
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.metres import assumption, needed_lens
from vmdepth_runtime.depth.scale.metres import Metres
from vmdepth_runtime.depth.scale.running import RunningMetres
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.pipeline.checks import check_camera, check_model, check_scale, check_source
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.jobs import Job
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.pipeline.reporter import Reporter, say
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.watchdog import Watchdog
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.given_model import open_model
from vmdepth_runtime.sessions.offline import OfflineSession, load_offline_session
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sessions.onnx_runtime.build import two_builds
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.open import foretell, needs_range, open_picture_sink, open_sink
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.recordings.open import recorded_depth
from vmdepth_runtime.stage_timer import StageTimer


@dataclass(frozen=True)
class Pipeline:
    """All that a run works with, opened and started.

    Attributes:
        batch: The network, and one stream of depth for each source.
        lens: What is known or assumed of the camera; None where nothing asks for it.
        readers: One for each source, in their order.
        writers: Likewise.
        statistics: What is counted and measured.
        reporter: What tells it while the run goes on.
        interrupt: Whether Ctrl-C came.
        stepping: The timer of the network.
        watchdog: What looks at the timers of all stages.
    """

    batch: StreamBatch
    lens: Lens | None
    readers: list[FrameReader]
    writers: list[Writer]
    statistics: RunStatistics
    reporter: Reporter
    interrupt: Interruptible
    stepping: StageTimer
    watchdog: Watchdog


def open_session(settings: RunSettings, jobs: Sequence[Job], stack: ExitStack) -> StepSession:
    """Load the model of a run.

    Args:
        settings: Of the run.
        jobs: All of the run; with `settings.streams` they go through the model at once.
        stack: Closes it.

    Raises:
        InputError: For a model that cannot be run, or not so.
    """
    palette(settings.palette)  # raises for one that is none
    streams = len(jobs) if settings.streams else 1
    if settings.offline:
        session: StepSession = _open_offline(settings, jobs)
    else:
        session = open_model(
            settings.model,
            settings.input_size,
            streams,
            threads=settings.threads,
            device=settings.device,
            verify=settings.verify,
            dynamic_mask=bool(settings.dynamic_mask),
        )
    stack.callback(session.close)
    check_model(settings, session.contract, streams)
    check_scale(settings, session.contract)
    check_camera(settings, session.contract, jobs)
    lens = _lens(settings, session.contract)
    if lens is not None and lens.assumed:
        say(assumption(session.contract))
    if settings.device is None and isinstance(session, OnnxSession) and (wrong := two_builds()):
        say(f"warning: {wrong}")
    return session


def open_pipeline(
    settings: RunSettings, session: StepSession, jobs: Sequence[Job], place: tuple[int, int], stack: ExitStack
) -> Pipeline:
    """Open and start everything but the model.

    Args:
        settings: Of the run.
        session: The model; its states are reset.
        jobs: Whose sources go through it at once.
        place: The number of this pipeline, from 1, and how many there will be one after the other.
        stack: Closes what is opened.

    Raises:
        InputError: For a source that is not as it should be; nothing has been written then.
        WorkError: For an output that cannot be opened.
    """
    stack.callback(cv2.setNumThreads, cv2.getNumThreads())
    cv2.setNumThreads(1)  # reading and writing have a thread each; more would only take cores from the network
    sources = [stack.enter_context(job.open(settings)) for job in jobs]
    lens = _lens(settings, session.contract)
    for source, job in zip(sources, jobs, strict=True):
        check_source(settings, source, job.outputs)
        if lens is not None:
            lens.camera(source.info.width, source.info.height, source.name)  # raises where it does not fit
        if source.live and place[1] > 1:
            raise InputError(f"{source.name}: is live and has no end; give it alone, or --streams")
    batch, colours = _open_batch(settings, session, jobs, sources, lens, stack)
    statistics = RunStatistics(len(sources))
    reporter = stack.enter_context(Reporter(sources, statistics, place))
    reporter.start(batch)
    _tell_sizes(settings, sources, jobs, reporter)
    if isinstance(session, OfflineSession):
        again = stack.enter_context(jobs[0].open(settings))
        session.begin((frame.image, frame.discontinuity) for frame in again)
        if session.remark:
            reporter.say(session.remark)

    interrupt = stack.enter_context(Interruptible())
    readers: list[FrameReader] = []  # filled below: a page asks for its figures while frames come
    status = partial(reporter.status, readers, batch)
    writers: list[Writer] = []
    for source, job, colour_range in zip(sources, jobs, colours, strict=True):
        facts = _facts(settings, source, job, batch.contract, colour_range, status)
        writers.append(_open_writer(settings, source, job.outputs, facts, colour_range, batch.contract, stack))
    for invitation in [sink.invitation for writer in writers for sink in writer.sinks if sink.invitation]:
        reporter.say(invitation)
    changed = Condition()
    for source in sources:
        size = (session.contract.height, session.contract.width)
        readers.append(FrameReader(source, size, settings.resize, changed))
        stack.callback(readers[-1].close)
    stepping = StageTimer("the network", allowed=math.inf if settings.offline else 1.0)  # windows take their time
    reading = [reader.source.timer or reader.timer for reader in readers]
    timers = [*reading, stepping, *(writer.timer for writer in writers)]
    watchdog = stack.enter_context(Watchdog(timers, settings.live.stall, reporter.say))
    return Pipeline(batch, lens, readers, writers, statistics, reporter, interrupt, stepping, watchdog)


def _open_offline(settings: RunSettings, jobs: Sequence[Job]) -> StepSession:
    if len(jobs) > 1:
        raise InputError("--offline: takes one source at a time")
    if settings.dynamic_mask:
        raise InputError("--dynamic-mask: is of streams; 'vmdepth-masks' tells what moves in a whole video")
    if settings.backend != "auto":
        raise InputError(f"--backend {settings.backend}: --offline runs in PyTorch; leave one of the two out")
    with jobs[0].open(settings) as source:  # a look at its size
        if source.pictures:
            raise InputError(f"{source.name}: --offline takes a video; pictures have nothing to do with each other")
        if source.live or not source.seekable:
            raise InputError(f"{source.name}: --offline needs the whole of it, twice; record it to a file first")
        size = source.info.height, source.info.width
    return load_offline_session(settings.model, size, settings.input_size, settings.threads, settings.device)


def _open_batch(
    settings: RunSettings,
    session: StepSession,
    jobs: Sequence[Job],
    sources: Sequence[Source],
    lens: Lens | None,
    stack: ExitStack,
) -> tuple[StreamBatch, list[ColourRange]]:
    """What steps the streams, and the range of each one's colours, from a look at the sources."""
    anchoring = None if any(source.pictures for source in sources) else _anchoring(settings, session.contract)
    pairs = zip(sources, jobs, strict=True)
    sampled = [source if source.pictures or any(map(needs_range, job.outputs)) else None for source, job in pairs]
    metres = Metres.of(settings.metres) or _running(settings, jobs, session.contract, stack)
    if isinstance(metres, list):
        sampled = [None] * len(sources)  # no metres are known of frames that are looked at beforehand
    make = partial(
        StreamBatch,
        session,
        resize=settings.resize,
        lens=lens,
        heed_moving=settings.heeds_moving,
        metres=metres,
    )
    colours = choose_ranges(make(), sampled)
    return make(keyframes=anchoring), colours


def _running(
    settings: RunSettings, jobs: Sequence[Job], contract: StepContract, stack: ExitStack
) -> list[RunningMetres] | None:
    """What follows measured depth, for each source; None where that was not asked for."""
    if settings.align_to is None:
        return None
    running = []
    for job in jobs:
        measured = recorded_depth(job.paths[0], settings.align_to, pictures=settings.read.topic)
        stack.enter_context(closing(measured))
        running.append(RunningMetres(measured, contract.depth_meaning, settings.align_to))
    return running


def _anchoring(settings: RunSettings, contract: StepContract) -> KeyframeSettings | None:
    if not settings.anchored or not contract.states:
        return None
    return KeyframeSettings.of(contract.keyframes, **settings.keyframes)


def _tell_sizes(settings: RunSettings, sources: Sequence[Source], jobs: Sequence[Job], reporter: Reporter) -> None:
    """Tell which outputs will be large. Raises InputError for one that there is no room for."""
    for source, job in zip(sources, jobs, strict=True):
        facts = SinkFacts(source.info, compress=settings.compress)
        for line in filter(None, (foretell(name, facts) for name in job.outputs)):
            reporter.say(line)


def _open_writer(
    settings: RunSettings,
    source: Source,
    outputs: tuple[str, ...],
    facts: SinkFacts,
    colours: ColourRange,
    contract: StepContract,
    stack: ExitStack,
) -> Writer:
    opened = open_picture_sink if source.pictures else open_sink
    sinks = [stack.enter_context(opened(output, facts)) for output in outputs]
    shown = colours if any(sink.wants_colour for sink in sinks) else None
    size = (contract.height, contract.width)
    marked = DYNAMIC in contract.extra_outputs and settings.heeds_moving
    writer = Writer(source.name, source.info, sinks, shown, settings.resize, size, settings.palette, marked=marked)
    stack.callback(writer.stop)
    return writer


def _facts(
    settings: RunSettings,
    source: Source,
    job: Job,
    contract: StepContract,
    colours: ColourRange,
    status: Callable[[], dict[str, Any]],
) -> SinkFacts:
    return SinkFacts(
        source.info,
        depth_kind=contract.depth_kind,
        extra_outputs=contract.extra_outputs,
        near=max(colours.low, colours.high) if isinstance(colours, FixedRange) else None,
        side_by_side=not settings.depth_only,
        colour=job.colour,
        max_height=settings.max_height,
        lens=Lens.of(settings.fov, settings.intrinsics) or source.lens,
        cloud=settings.cloud,
        heed_moving=settings.heeds_moving,
        compress=settings.compress,
        status=status,
        sound=source.sound,
        frame_id=source.frame_id,
        began=time_ns(),
    )


def _lens(settings: RunSettings, contract: StepContract) -> Lens | None:
    """Whatever is said of the camera; what is assumed where the network cannot do without; else None."""
    return Lens.of(settings.fov, settings.intrinsics) or needed_lens(contract, None)
