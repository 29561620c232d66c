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
from vmdepth_runtime.camera.rectifier import Rectifier
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.colour_map import ColourRange, FixedRange, choose_ranges, palette
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.metres import assumption, needed_lens
from vmdepth_runtime.depth.scale.metres import Metres
from vmdepth_runtime.depth.scale.running import RunningMetres
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.pipeline.checks import (
    check_camera,
    check_depth_kind,
    check_model,
    check_scale,
    check_source,
    depth_kind,
)
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
        lenses: What is known or assumed of each source's camera; None where nothing asks for it.
        readers: One for each source, in their order.
        writers: Likewise.
        statistics: What is counted and measured.
        reporter: What tells it while the run goes on.
        interrupt: Whether Ctrl-C came.
        stepping: The timer of the network.
        watchdog: What looks at the timers of all stages.
    """

    batch: StreamBatch
    lenses: list[Lens | None]
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
    check_depth_kind(settings, session.contract, jobs)
    lens = Lens.of(settings.fov, settings.intrinsics) or needed_lens(session.contract, None)
    if lens is not None and lens.assumed and not all(job.recording for job in jobs):  # those may say it themselves
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
    for source, job in zip(sources, jobs, strict=True):
        check_source(settings, source, job.outputs, alone=place[1] == 1)
    lenses, rectifiers = _cameras(settings, sources, jobs, session.contract)
    anchoring = None if any(source.pictures for source in sources) else _anchoring(settings, session.contract)
    sampled = [_looked_at(settings, source, job, session.contract) for source, job in zip(sources, jobs, strict=True)]
    metres = Metres.of(settings.metres) or _running(settings, jobs, session.contract, stack)
    make = partial(
        StreamBatch,
        session,
        resize=settings.resize,
        lens=lenses,
        heed_moving=settings.heeds_moving,
        metres=metres,
    )
    colours = choose_ranges(make(), sampled, rectifiers)
    batch = make(keyframes=anchoring, cuts=[_looks_for_cuts(settings, source) for source in sources])
    statistics = RunStatistics(len(sources))
    reporter = stack.enter_context(Reporter(sources, statistics, place))
    reporter.start(batch)
    _tell_sizes(settings, sources, jobs, batch.contract, reporter)
    if isinstance(session, OfflineSession):
        _go_over(session, stack.enter_context(jobs[0].open(settings)), rectifiers[0], reporter)
    interrupt = stack.enter_context(Interruptible())
    readers: list[FrameReader] = []  # filled below: a page asks for its figures while frames come
    status = partial(reporter.status, readers, batch)
    writers: list[Writer] = []
    for source, job, lens, colour_range in zip(sources, jobs, lenses, colours, strict=True):
        facts = _facts(settings, source, job, lens, batch.contract, colour_range, status)
        writers.append(_open_writer(settings, source, job.outputs, facts, colour_range, batch.contract, stack))
    _tell_invitations(writers, reporter)
    changed = Condition()
    size = (session.contract.height, session.contract.width)
    for source, rectify in zip(sources, rectifiers, strict=True):
        readers.append(FrameReader(source, size, settings.resize, changed, rectify))
        stack.callback(readers[-1].close)
    stepping = StageTimer("the network", allowed=math.inf if settings.offline else 1.0)  # windows take their time
    timers = [*(reader.source.timer or reader.timer for reader in readers), stepping, *(w.timer for w in writers)]
    watchdog = stack.enter_context(Watchdog(timers, settings.live.stall, reporter.say))
    return Pipeline(batch, lenses, readers, writers, statistics, reporter, interrupt, stepping, watchdog)


def _tell_invitations(writers: Sequence[Writer], reporter: Reporter) -> None:
    for invitation in [sink.invitation for writer in writers for sink in writer.sinks if sink.invitation]:
        reporter.say(invitation)


def _go_over(session: OfflineSession, again: Source, rectify: Rectifier | None, reporter: Reporter) -> None:
    """Have the network see the whole video, which is opened once more for that."""
    session.begin((rectify(f.image) if rectify else f.image, f.discontinuity) for f in again)
    if session.remark:
        reporter.say(session.remark)


def _looked_at(settings: RunSettings, source: Source, job: Job, contract: StepContract) -> Source | None:
    """A source, where it is worth knowing beforehand what depth there will be, and can be known."""
    if settings.align_to is not None:  # no metres are known of frames that are looked at beforehand
        return None
    kind = depth_kind(settings, contract)
    return source if source.pictures or any(needs_range(output, kind) for output in job.outputs) else None


def _open_offline(settings: RunSettings, jobs: Sequence[Job]) -> StepSession:
    if len(jobs) > 1:
        raise InputError("--offline: takes one source at a time")
    if settings.dynamic_mask:
        raise InputError("--dynamic-mask: is of streams; 'vmdepth-masks' tells what moves in a whole video")
    if settings.cuts:
        raise InputError("--cuts: is of streams; --offline looks at the whole video; leave one of the two out")
    if settings.backend != "auto":
        raise InputError(f"--backend {settings.backend}: --offline runs in PyTorch; leave one of the two out")
    with jobs[0].open(settings) as source:  # a look at its size
        if source.pictures:
            raise InputError(f"{source.name}: --offline takes a video; pictures have nothing to do with each other")
        if source.live or not source.seekable:
            raise InputError(f"{source.name}: --offline needs the whole of it, twice; record it to a file first")
        size = source.info.height, source.info.width
    return load_offline_session(settings.model, size, settings.input_size, settings.threads, settings.device)


def _running(
    settings: RunSettings, jobs: Sequence[Job], contract: StepContract, stack: ExitStack
) -> list[RunningMetres] | None:
    """What follows measured depth, for each source; None where that was not asked for."""
    if settings.align_to is None:
        return None
    running, lens = [], Lens.of(settings.fov, settings.intrinsics)
    for job in jobs:
        measured = recorded_depth(job.paths[0], settings.align_to, pictures=settings.read.topic, lens=lens)
        stack.enter_context(closing(measured))
        running.append(RunningMetres(measured, contract.depth_meaning, settings.align_to, measured.damage))
    return running


def _anchoring(settings: RunSettings, contract: StepContract) -> KeyframeSettings | None:
    if not settings.anchored or not contract.states:
        return None
    return KeyframeSettings.of(contract.keyframes, **settings.keyframes)


def _looks_for_cuts(settings: RunSettings, source: Source) -> bool:
    if settings.offline or source.pictures:
        return False
    return not source.tells_jumps if settings.cuts is None else settings.cuts


def _tell_sizes(
    settings: RunSettings, sources: Sequence[Source], jobs: Sequence[Job], contract: StepContract, reporter: Reporter
) -> None:
    """Tell which outputs will be large. Raises InputError for one that there is no room for."""
    for source, job in zip(sources, jobs, strict=True):
        facts = SinkFacts(
            source.info,
            depth_kind=contract.depth_kind,
            cloud=settings.cloud,
            compress=settings.compress,
            depth_encoding=settings.depth_encoding,
            points=settings.points,
        )
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
    lens: Lens | None,
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
        lens=None if lens is None or lens.assumed else lens,
        cloud=settings.cloud,
        heed_moving=settings.heeds_moving,
        compress=settings.compress,
        depth_encoding=settings.depth_encoding,
        points=settings.points,
        status=status,
        sound=source.sound,
        frame_id=source.frame_id,
        began=time_ns(),
    )


def _cameras(
    settings: RunSettings, sources: Sequence[Source], jobs: Sequence[Job], contract: StepContract
) -> tuple[list[Lens | None], list[Rectifier | None]]:
    """The lens of each source's frames as the network is shown them, and what makes them so."""
    lenses = [_lens(settings, source, job, contract) for source, job in zip(sources, jobs, strict=True)]
    rectifiers = [_rectifier(settings, source, lens) for source, lens in zip(sources, lenses, strict=True)]
    return [rectify.lens if rectify else lens for rectify, lens in zip(rectifiers, lenses, strict=True)], rectifiers


def _lens(settings: RunSettings, source: Source, job: Job, contract: StepContract) -> Lens | None:
    """Whatever is said of a source's camera; what is assumed where the network cannot do without; else None.

    Raises InputError where what was given does not fit the frames.
    """
    lens = Lens.of(settings.fov, settings.intrinsics) or source.lens
    if lens is None:
        lens = needed_lens(contract, None)
        if lens is not None and job.recording:
            say(f"{source.name}: {assumption(contract)}")
    if lens is not None:
        lens.camera(source.info.width, source.info.height, source.name)
    return lens


def _rectifier(settings: RunSettings, source: Source, lens: Lens | None) -> Rectifier | None:
    if not settings.rectify:
        return None
    if lens is None or lens.assumed:
        raise InputError(f"{source.name}: says nothing of its camera; --rectify needs --camera FILE, a calibration")
    return Rectifier(lens, source.info.width, source.info.height)
