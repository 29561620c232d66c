"""From settings to a pipeline: model, sources and outputs opened, and a thread for each that reads or writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Condition
from typing import Any

from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.colour_map import ColourRange, FixedRange, choose_ranges, palette
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.encoding.points import PinholeCamera
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.pipeline.checks import check_model, check_size
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.pipeline.reporter import Reporter, say
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.watchdog import Watchdog
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sessions.offline import OfflineSession, load_offline_session
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.open import foretell, needs_range, open_sink
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
    palette(settings.palette)  # raises for one that is none
    session = _open_session(settings)
    stack.callback(session.close)
    check_model(settings, session.contract)
    sources = [stack.enter_context(open_source(source, settings.live, waiting=say)) for source in settings.sources]
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
    _tell_sizes(settings, sources, outputs, reporter)
    if isinstance(session, OfflineSession):
        again = stack.enter_context(open_source(settings.sources[0], settings.live))
        session.begin((frame.image, frame.discontinuity) for frame in again)
        if session.remark:
            reporter.say(session.remark)

    interrupt = stack.enter_context(Interruptible())
    readers: list[FrameReader] = []  # filled below: a page asks for its figures while frames come
    status = partial(reporter.status, readers, batch)
    writers: list[Writer] = []
    for source, names, colour_range in zip(sources, outputs, colours, strict=True):
        facts = _facts(settings, source, session.contract, colour_range, status)
        writers.append(_open_writer(settings, source, names, facts, colour_range, session.contract, stack))
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
    return Pipeline(batch, readers, writers, statistics, reporter, interrupt, stepping, watchdog)


def _open_session(settings: RunSettings) -> StepSession:
    if not settings.offline:
        return load_session(settings.model, settings.threads, settings.device, verify=settings.verify)
    if len(settings.sources) > 1:
        raise InputError("--offline: takes one source at a time")
    with open_source(settings.sources[0], settings.live) as source:  # a look at its size
        if source.live or not source.seekable:
            raise InputError(f"{source.name}: --offline needs the whole of it, twice; record it to a file first")
        size = source.info.height, source.info.width
    return load_offline_session(settings.model, size, settings.threads, settings.device)


def _anchoring(settings: RunSettings, contract: StepContract) -> KeyframeSettings | None:
    if not settings.anchored or not contract.states:
        return None
    return KeyframeSettings.of(contract.keyframes, **settings.keyframes)


def _tell_sizes(
    settings: RunSettings, sources: list[Source], outputs: list[tuple[str, ...]], reporter: Reporter
) -> None:
    """Tell which outputs will be large. Raises InputError for one that there is no room for."""
    for source, names in zip(sources, outputs, strict=True):
        facts = SinkFacts(source.info, compress=settings.compress)
        for line in filter(None, (foretell(name, facts) for name in names)):
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
    sinks = [stack.enter_context(open_sink(output, facts)) for output in outputs]
    shown = colours if any(sink.wants_colour for sink in sinks) else None
    size = (contract.height, contract.width)
    writer = Writer(source.name, source.info, sinks, shown, settings.resize, size, settings.palette)
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
        palette=settings.palette,
        colour=settings.colour,
        camera=_camera(settings, source),
        cloud=settings.cloud,
        compress=settings.compress,
        status=status,
    )


def _camera(settings: RunSettings, source: Source) -> PinholeCamera | None:
    if settings.intrinsics is not None:
        return PinholeCamera(*settings.intrinsics)
    if settings.fov is None:
        return None
    return PinholeCamera.of_fov(settings.fov, source.info.width, source.info.height)
