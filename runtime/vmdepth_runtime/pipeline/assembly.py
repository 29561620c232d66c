"""From settings to a pipeline: model, sources and outputs opened, and a thread for each that reads or writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Condition
from typing import Any

import cv2

from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.colour_map import ColourRange, FixedRange, choose_ranges
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.pipeline.checks import check_model, check_size
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.pipeline.reporter import Reporter
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.watchdog import Watchdog
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sinks.base import PinholeCamera, SinkFacts
from vmdepth_runtime.sinks.open import needs_range, open_sink
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.open import open_source
from vmdepth_runtime.stage_timer import StageTimer


@dataclass(frozen=True)
class Pipeline:
    """All that a run works with, opened and started.

    Attributes:
        batch: The network, and one stream of depth for each source.
        readers: One for each source, in their order.
        writers: Likewise.
        statistics: What is counted and measured.
        reporter: What tells it while the run goes on.
        interrupt: Whether Ctrl-C came.
        stepping: The timer of the network.
        watchdog: What looks at the timers of all stages.
    """

    batch: StreamBatch
    readers: list[FrameReader]
    writers: list[Writer]
    statistics: RunStatistics
    reporter: Reporter
    interrupt: Interruptible
    stepping: StageTimer
    watchdog: Watchdog


def open_pipeline(settings: RunSettings, outputs: list[tuple[str, ...]], stack: ExitStack) -> Pipeline:
    """Open and start everything.

    Args:
        settings: Of the run.
        outputs: Of each source.
        stack: Closes what is opened.

    Raises:
        InputError: For a model or a source that is not as it should be; nothing has been written then.
        WorkError: For an output that cannot be opened.
    """
    stack.callback(cv2.setNumThreads, cv2.getNumThreads())
    cv2.setNumThreads(1)  # reading and writing have a thread each; more would only take cores from the network
    session = load_session(settings.model, settings.threads, settings.device, verify=settings.verify)
    stack.callback(session.close)
    check_model(settings, session.contract)
    sources = [stack.enter_context(open_source(source, settings.live)) for source in settings.sources]
    for source in sources:
        check_size(source)
    anchoring = _anchoring(settings, session.contract)
    pairs = zip(sources, outputs, strict=True)
    sampled = [source if any(map(needs_range, names)) else None for source, names in pairs]
    colours = choose_ranges(session, sampled, settings.resize)
    batch = StreamBatch(session, resize=settings.resize, keyframes=anchoring)
    statistics = RunStatistics(len(sources))
    reporter = stack.enter_context(Reporter(sources, statistics))
    reporter.start(batch)

    interrupt = stack.enter_context(Interruptible())
    readers: list[FrameReader] = []  # filled below: a page asks for its figures while frames come
    status = partial(reporter.status, readers, batch)
    writers: list[Writer] = []
    for source, names, colour_range in zip(sources, outputs, colours, strict=True):
        facts = _facts(settings, source, session.contract, colour_range, status)
        writers.append(_open_writer(settings, source, names, facts, colour_range, session.contract, stack))
    changed = Condition()
    for source in sources:
        size = (session.contract.height, session.contract.width)
        readers.append(FrameReader(source, size, settings.resize, changed))
        stack.callback(readers[-1].close)
    stepping = StageTimer("the network")
    reading = [reader.source.timer or reader.timer for reader in readers]
    timers = [*reading, stepping, *(writer.timer for writer in writers)]
    watchdog = stack.enter_context(Watchdog(timers, settings.live.stall, reporter.say))
    return Pipeline(batch, readers, writers, statistics, reporter, interrupt, stepping, watchdog)


def _anchoring(settings: RunSettings, contract: StepContract) -> KeyframeSettings | None:
    if not settings.anchored or not contract.states:
        return None
    return KeyframeSettings.of(contract.keyframes, **settings.keyframes)


def _open_writer(
    settings: RunSettings,
    source: Source,
    outputs: tuple[str, ...],
    facts: SinkFacts,
    colours: ColourRange,
    contract: StepContract,
    stack: ExitStack,
) -> Writer:
    sinks = [stack.enter_context(open_sink(output, facts)) for output in outputs]
    shown = colours if any(sink.wants_colour for sink in sinks) else None
    size = (contract.height, contract.width)
    writer = Writer(source.name, source.info, sinks, shown, settings.resize, size)
    stack.callback(writer.stop)
    return writer


def _facts(
    settings: RunSettings,
    source: Source,
    contract: StepContract,
    colours: ColourRange,
    status: Callable[[], dict[str, Any]],
) -> SinkFacts:
    return SinkFacts(
        source.info,
        depth_kind=contract.depth_kind,
        near=max(colours.low, colours.high) if isinstance(colours, FixedRange) else None,
        side_by_side=not settings.depth_only,
        max_height=settings.max_height,
        camera=_camera(settings, source),
        status=status,
        sound=source.sound,
    )


def _camera(settings: RunSettings, source: Source) -> PinholeCamera | None:
    if settings.intrinsics is not None:
        return PinholeCamera(*settings.intrinsics)
    if settings.fov is None:
        return None
    width, height = source.info.width, source.info.height
    focal = width / 2 / math.tan(math.radians(settings.fov) / 2)
    return PinholeCamera(focal, focal, (width - 1) / 2, (height - 1) / 2)
