"""What a run tells: while it goes on, at its end, and in its report."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.pipeline.reader import Feed
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.live import LiveSource

if TYPE_CHECKING:
    from vmdepth_runtime.pipeline.run import RunSettings

_RECENT = 100  # frames that the rate is taken from
_NAMED = 10  # skipped frames told one by one on the terminal; the report has more


class Telling:
    """Lines on stderr, and on a terminal a progress bar above which they appear."""

    def __init__(self, sources: Sequence[Source], statistics: RunStatistics) -> None:
        self._sources = sources
        self._statistics = statistics
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._bar: Progress | None = None
        for source in sources:
            if source.live:
                source.tell = self.say

    def __enter__(self) -> Telling:
        if not sys.stderr.isatty():
            return self
        counts = [source.info.frames for source in self._sources]
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        total = None if None in counts else sum(count or 0 for count in counts)
        name = ", ".join(source.name for source in self._sources)
        self._task = self._bar.add_task(name, total=total, figures="")
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """A line, now; from any thread."""
        if self._bar is not None:
            self._bar.console.print(f"vmdepth-run: {line}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"vmdepth-run: {line}", file=sys.stderr, flush=True)

    def start(self, batch: StreamBatch) -> None:
        """What is worth knowing before the first frame."""
        for bank in batch.banks[:1]:
            fewer = f" ({bank.settings.capacity} asked for)" if bank.capacity < bank.settings.capacity else ""
            if fewer or len(batch.banks) > 1 or bank.mib >= 1:
                each = " for each source" if len(batch.banks) > 1 else ""
                self.say(f"up to {bank.capacity} key frames{fewer}{each}, {bank.mib:.1f} MiB")

    def advance(self, count: int, feeds: Sequence[Feed], batch: StreamBatch) -> None:
        """So many frames are through."""
        self._times.extend([perf_counter()] * count)
        if self._bar is None:
            return
        latency = self._statistics.latency
        figures = f"{self.fps:.1f} fps, p50 {latency(50, last=100):.1f} ms, p99 {latency(99, last=100):.1f} ms"
        if any(feed.source.live for feed in feeds):
            figures += f", {sum(feed.dropped for feed in feeds)} dropped"
        if batch.banks:
            figures += f", {sum(bank.count for bank in batch.banks)} key frames"
        self._bar.update(self._task, advance=count, figures=figures)

    @property
    def fps(self) -> float:
        """Of the latest frames, down to 0 while nothing comes."""
        return len(self._times) / max(perf_counter() - self._times[0], 1e-9) if self._times else 0.0

    def status(self, feeds: Sequence[Feed], batch: StreamBatch) -> dict[str, Any]:
        """Figures for a page."""
        statistics = self._statistics
        return {
            "frames": statistics.frames_out,
            "frames/s": round(self.fps, 1),
            "latency p50, ms": round(statistics.latency(50, last=100), 1),
            "latency p99, ms": round(statistics.latency(99, last=100), 1),
            "dropped": sum(feed.dropped for feed in feeds),
            "not finite": sum(batch.broken),
            "key frames": sum(bank.count for bank in batch.banks),
            "returns to a key frame": sum(bank.resets for bank in batch.banks),
            "latest visit": ", ".join(
                f"frame {bank.visits[-1].last} to key frame {bank.visits[-1].keyframe}"
                for bank in batch.banks
                if bank.visits
            )
            or "none",
        }

    def finish(self, report: dict[str, Any]) -> None:
        """The closing lines."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        for source in report["sources"]:
            several = f"{source['name']}: " if len(report["sources"]) > 1 else ""
            for one in source["skipped"][:_NAMED]:
                self.say(f"{several}skipped frame {one['index']} ({one['name']}): {one['reason']}")
            if len(source["skipped"]) > _NAMED:
                self.say(f"{several}skipped {len(source['skipped']) - _NAMED} more frames; --report names them")
            if source["broken"]:
                self.say(f"{several}{source['broken_count']} frames for which the network gave nothing finite")
            if not source["live"]:
                for warning in source["warnings"]:
                    self.say(f"warning: {warning}")
        for note in report["notes"]:
            self.say(f"warning: {note}")
        totals = {key: sum(source[key] for source in report["sources"]) for key in ("frames_in", "dropped")}
        skipped = sum(source["skipped_count"] for source in report["sources"])
        latency = report["latency_ms"]
        self.say(
            f"{'interrupted: ' if report['interrupted'] else ''}{totals['frames_in']} frames in, "
            f"{report['frames_out']} out, {skipped} skipped, {totals['dropped']} dropped, {report['fps']:.1f} fps, "
            f"latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms"
        )
        if sys.stderr.isatty():
            _print_table(report)
        if report["outputs"]:
            self.say(f"wrote {', '.join(report['outputs'])}")


def make_report(
    settings: RunSettings,
    batch: StreamBatch,
    feeds: Sequence[Feed],
    writers: Sequence[Writer],
    statistics: RunStatistics,
    *,
    interrupted: bool,
    stalls: int,
    failure: str | None,
) -> dict[str, Any]:
    """What `--report` writes."""
    contract = batch.contract
    stages = {
        "read": sum(feed.pulse.seconds for feed in feeds),
        "step": statistics.step_seconds,
        "anchor": statistics.anchor_seconds,
        "write": sum(writer.pulse.seconds for writer in writers),
    }
    return {
        "model": {
            "file": str(batch.session.path),
            "name": contract.model,
            "weights_hash": contract.weights_hash,
            "size": [contract.height, contract.width],
            "resize": settings.resize,
            "depth_kind": contract.depth_kind,
        },
        "backend": batch.session.backend,
        "interrupted": interrupted,
        "failure": failure,
        "stalls": stalls,
        **statistics.as_dict(),
        # Stages overlap: together they may be busy for longer than the run took.
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in stages.items()},
        "stage_shares": {stage: round(seconds / statistics.seconds, 4) for stage, seconds in stages.items()},
        "sources": [_of_source(stream, feed, writers[stream], batch, statistics) for stream, feed in enumerate(feeds)],
        "notes": [note for writer in writers for sink in writer.sinks for note in sink.notes],
        "outputs": [sink.name for writer in writers for sink in writer.sinks if sink.frames],
    }


def _of_source(
    stream: int, feed: Feed, writer: Writer, batch: StreamBatch, statistics: RunStatistics
) -> dict[str, Any]:
    source, info = feed.source, feed.source.info
    out = statistics.frames[stream]
    return {
        "name": source.name,
        "live": source.live,
        "width": info.width,
        "height": info.height,
        "fps": round(info.fps, 3),
        "promised_frames": info.frames,
        "frames_in": out + source.skipped_count + feed.dropped,
        "frames_out": out,
        "dropped": feed.dropped,
        "losses": source.losses if isinstance(source, LiveSource) else 0,
        "skipped_count": source.skipped_count,
        "skipped": [{"index": s.index, "name": s.name, "reason": s.reason} for s in source.skipped],
        "broken_count": batch.broken[stream],
        "broken": statistics.broken[stream],
        "warnings": source.warnings,
        "colour_range": None if writer.bounds is None else {"low": writer.bounds[0], "high": writer.bounds[1]},
        "keyframes": batch.banks[stream].as_dict() if batch.banks else None,
    }


def _print_table(report: dict[str, Any]) -> None:
    table = Table("stage", "busy, s", "of the run", box=None)
    for stage, seconds in report["stage_seconds"].items():
        table.add_row(stage, f"{seconds:.2f}", f"{report['stage_shares'][stage]:.0%}")
    Console(stderr=True).print(table)
