"""Frames from the readers, through the network, to the writers: reading, stepping and writing overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np

from vmdepth_runtime.depth.stream_batch import StreamBatch, StreamDepth
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.reader import FrameReader, PreparedFrame
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.stage_timer import StageTimer

_PATIENCE = 0.1  # seconds that cameras wait for one that has nothing new


def run_pipeline(
    readers: Sequence[FrameReader],
    batch: StreamBatch,
    writers: Sequence[Writer],
    statistics: RunStatistics,
    interrupt: Interruptible,
    timer: StageTimer,
    advance: Callable[[], None],
    *,
    strict: bool = False,
) -> None:
    """Step through all frames, until the sources have ended or an interrupt comes.

    A stream whose source has nothing new keeps its states.

    Args:
        readers: One for each stream of the batch, in order, sharing one condition.
        batch: Gives depth.
        writers: One for each stream, in order; they get every frame with its depth.
        statistics: Counts frames and times.
        interrupt: Ends the wait for frames.
        timer: Of the network.
        advance: Called after each step.
        strict: Stop where the network gives what is not finite.

    Raises:
        WorkError: Where `strict` says so.
        Exception: Whatever goes wrong in any stage.
    """
    silent: set[FrameReader] = set()
    while True:
        gathered = interrupt.wait_for(partial(_gather, readers, silent))
        if gathered is None:
            return
        if not any(gathered):
            if all(reader.ended for reader in readers):
                return
            continue
        start = perf_counter()
        with timer:
            results = _step(batch, gathered)
        done = perf_counter()
        for stream, (prepared, result) in enumerate(zip(gathered, results, strict=True)):
            if prepared is None or result is None:
                continue
            frame = prepared.frame
            if result.cut:
                statistics.add_cut(stream, frame.index)
                frame = replace(frame, discontinuity=True)
            since = frame.arrived if readers[stream].source.live else start
            statistics.add_frame(stream, latency=done - since)
            if result.finite and result.moves is not None:
                statistics.moving[stream].add(np.count_nonzero(result.moves) / result.moves.size)
            if not result.finite:
                statistics.add_broken(stream, frame.index)
                if strict:
                    raise _not_finite(batch, readers[stream], frame.index)
            writers[stream].put(frame, result, interrupt)
        statistics.add_step(done - start, batch.step_ms / 1e3)
        advance()


def _gather(readers: Sequence[FrameReader], silent: set[FrameReader]) -> list[PreparedFrame | None]:
    """The next frame of each reader: waits for a first one, and then for the others, of live sources not for long.

    All share one condition. silent: readers of live sources that had nothing last time, which nobody waits for.
    """
    changed = readers[0].changed
    any_live = any(reader.source.live for reader in readers)
    with changed:
        changed.wait_for(lambda: any(reader.ready for reader in readers) or all(reader.ended for reader in readers))
        awaited = [reader for reader in readers if reader not in silent]
        changed.wait_for(
            lambda: all(reader.ready or reader.ended for reader in awaited), _PATIENCE if any_live else None
        )
        silent.clear()
        silent.update(reader for reader in readers if reader.source.live and not reader.ready)
        return [reader.take() for reader in readers]


def _step(batch: StreamBatch, gathered: Sequence[PreparedFrame | None]) -> list[StreamDepth | None]:
    for stream, prepared in enumerate(gathered):
        if prepared is not None and prepared.frame.discontinuity:
            batch.restart(stream)
    frames = [None if prepared is None else prepared.resized for prepared in gathered]
    sizes = [None if prepared is None else prepared.frame.image.shape[:2] for prepared in gathered]
    return batch.step(frames, sizes, [None if prepared is None else prepared.frame.stamp for prepared in gathered])


def _not_finite(batch: StreamBatch, reader: FrameReader, index: int) -> WorkError:
    return WorkError(
        f"{batch.session.path}: gives depth or states that are not finite, for frame {index} of "
        f"{reader.source.name}; 'vmdepth-parity' says more"
    )
