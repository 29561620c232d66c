"""Frames from the feeds, through the network, to the writers: reading, stepping and writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.reader import Feed, Ready
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.stage_timer import StageTimer

_PATIENCE = 0.1  # seconds that cameras wait for one that has nothing new


def run_pipeline(
    feeds: Sequence[Feed],
    batch: StreamBatch,
    writers: Sequence[Writer],
    statistics: RunStatistics,
    interrupt: Interruptible,
    pulse: StageTimer,
    advance: Callable[[int], None],
    *,
    strict: bool = False,
) -> None:
    """Until all sources have ended, or an interrupt. One feed and one writer per stream of the batch, in order.

    A stream whose source has nothing new keeps its states. pulse: of the network. advance: called with the number of
    frames after each step. strict: raise WorkError where the network gives what is not finite. Raises what goes wrong
    in any stage.
    """
    silent: set[Feed] = set()
    while True:
        gathered = interrupt.wait_for(partial(_gather, feeds, silent))
        if gathered is None:
            return
        if not any(gathered):
            if all(feed.ended for feed in feeds):
                return
            continue
        start = perf_counter()
        with pulse:
            for stream, ready in enumerate(gathered):
                if ready is not None and ready.frame.discontinuity:
                    batch.restart(stream)
            results = batch.step([None if ready is None else ready.small for ready in gathered])
        done = perf_counter()
        count = 0
        for stream, (ready, result) in enumerate(zip(gathered, results, strict=True)):
            if ready is None or result is None:
                continue
            frame = ready.frame
            since = frame.arrived if feeds[stream].source.live else start
            statistics.add_frame(stream, latency=done - since)
            if not result.finite:
                statistics.add_broken(stream, frame.index)
                if strict:
                    raise WorkError(
                        f"{batch.session.path}: gives depth or states that are not finite, for frame {frame.index} of "
                        f"{feeds[stream].source.name}; 'vmdepth-parity' says more"
                    )
            writers[stream].put(frame, result.depth, interrupt)
            count += 1
        statistics.add_step(done - start, batch.step_ms / 1e3)
        advance(count)


def _gather(feeds: Sequence[Feed], silent: set[Feed]) -> list[Ready | None]:
    """The next frame of each feed: waits for a first one, and then for the others, of live sources not for long.

    All share one condition. silent: live feeds that had nothing last time, which nobody waits for.
    """
    changed = feeds[0].changed
    any_live = any(feed.source.live for feed in feeds)
    with changed:
        changed.wait_for(lambda: any(feed.ready for feed in feeds) or all(feed.ended for feed in feeds))
        awaited = [feed for feed in feeds if feed not in silent]
        changed.wait_for(lambda: all(feed.ready or feed.ended for feed in awaited), _PATIENCE if any_live else None)
        silent.clear()
        silent.update(feed for feed in feeds if feed.source.live and not feed.ready)
        return [feed.take() for feed in feeds]
