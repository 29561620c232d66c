"""Frames from the feeds, through the network, to the writers: reading, stepping and writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from vmdepth_runtime.feed import Feed
from vmdepth_runtime.interrupt import Interruptible
from vmdepth_runtime.measures import RunStatistics
from vmdepth_runtime.sources import SourceFrame
from vmdepth_runtime.streams import StreamBatch
from vmdepth_runtime.watchdog import Pulse
from vmdepth_runtime.writer import Writer

_PATIENCE = 0.1  # seconds that cameras wait for one that has nothing new


def run_pipeline(
    feeds: Sequence[Feed],
    batch: StreamBatch,
    writers: Sequence[Writer],
    statistics: RunStatistics,
    interrupt: Interruptible,
    pulse: Pulse,
    advance: Callable[[int], None],
) -> None:
    """Until all sources have ended, or an interrupt. One feed and one writer per stream of the batch, in order.

    A stream whose source has nothing new keeps its states. pulse: of the network. advance: called with the number of
    frames after each step. Raises what goes wrong in any stage.
    """
    while True:
        frames = [_take(feed, interrupt, alone=len(feeds) == 1) for feed in feeds]
        if not any(frames):
            if interrupt.pressed or all(feed.ended for feed in feeds):
                return
            continue
        pulse.begin()
        taken = perf_counter()
        for stream, frame in enumerate(frames):
            if frame is not None and frame.fresh:
                batch.start_anew(stream)
        results = batch.step([None if frame is None else frame.image for frame in frames])
        done = perf_counter()
        pulse.end()
        count = 0
        for stream, (frame, result) in enumerate(zip(frames, results, strict=True)):
            if frame is None or result is None:
                continue
            since = frame.arrived if feeds[stream].source.live else taken
            statistics.add_frame(stream, latency=done - since)
            if not result.finite:
                statistics.add_broken(stream, frame.index)
            writers[stream].put(frame, result.depth)
            count += 1
        statistics.add_step(done - taken, batch.step_ms / 1e3)
        advance(count)


def _take(feed: Feed, interrupt: Interruptible, *, alone: bool) -> SourceFrame | None:
    wait = None if alone or not feed.source.live else _PATIENCE
    return interrupt.wait_for(partial(feed.take, wait))
