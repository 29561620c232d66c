"""What a run tells while it goes on, and at its end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.table import Table

from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.progress import ProgressLine
from vmdepth_runtime.sources.base import Source

_PREFIX = "vmdepth-run: "
_NAMED = 10  # skipped frames, and cuts, told one by one on the terminal; the report has more

_LIMITS = {
    "reading": "reading; the network had to wait for frames",
    "network": "the network",
    "writing": "writing; faster: --depth-only, a smaller --max-height, other outputs",
}


class Reporter:
    """Writes lines to stderr, and how far the run is.

    Args:
        sources: Of the run; live ones tell their warnings through it at once.
        statistics: Of the run, which the figures are taken from.
        place: The number of these sources, from 1, and how many come one after the other.
    """

    def __init__(self, sources: Sequence[Source], statistics: RunStatistics, place: tuple[int, int]) -> None:
        self._sources = sources
        self._place = place
        self._statistics = statistics
        self._line: ProgressLine | None = None
        for source in sources:
            if source.live:
                source.tell = self.say

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()

    def say(self, line: str) -> None:
        """Write a line, now; from any thread."""
        shown = self._line  # another thread may take it away
        if shown is not None:
            shown.say(line)
        else:
            say(line)

    def start(self, batch: StreamBatch) -> None:
        """Tell what runs, on a terminal at once, and begin to show how far it is."""
        for bank in batch.banks[:1]:
            if bank.capacity < bank.settings.capacity:
                each = " for each source" if len(batch.banks) > 1 else ""
                self.say(
                    f"keeps {bank.capacity} of {bank.settings.capacity} key frames{each}: more take above "
                    f"--keyframe-memory {bank.settings.memory:g}"
                )
        counts = [source.info.about if source.info.frames is None else source.info.frames for source in self._sources]
        total = None if None in counts else sum(count or 0 for count in counts)
        name = ", ".join(source.name for source in self._sources)
        if self._place[1] > 1:
            name = f"{self._place[0]}/{self._place[1]} {name}"
        heading = "; ".join([_network(batch), *map(_described, self._sources)])
        self._line = ProgressLine(name, total, "frames", prefix=_PREFIX, heading=heading)
        self._line.start()

    def advance(self, readers: Sequence[FrameReader], batch: StreamBatch) -> None:
        """Show that more frames are through."""
        if self._line is not None:
            skipped = sum(source.skipped_count for source in self._sources)
            done, total = self._statistics.frames_out + skipped, self._line.total
            more = None if total is None else max(done, total)  # than there were to be, as far as was known
            self._line.update(done, partial(self._figures, readers, batch), more)

    def _figures(self, readers: Sequence[FrameReader], batch: StreamBatch) -> list[str]:
        latency = self._statistics.latency
        figures = [f"{self.fps:.1f} fps"]
        if any(reader.source.live for reader in readers):
            figures.append(f"{sum(reader.dropped for reader in readers)} dropped")
        figures += [f"p50 {latency(50, last=100):.1f} ms", f"p99 {latency(99, last=100):.1f} ms"]
        if batch.banks:
            kept = sum(bank.count for bank in batch.banks)
            figures.append(f"{kept} key frame{'' if kept == 1 else 's'}")
        return figures

    @property
    def fps(self) -> float:
        """Frames per second, of late; it goes down while nothing comes."""
        shown = self._line  # another thread may take it away
        return 0.0 if shown is None else shown.rate

    def status(self, readers: Sequence[FrameReader], batch: StreamBatch) -> dict[str, Any]:
        """The figures that a page shows beside the picture."""
        statistics = self._statistics
        moving = [f"{shares.latest:.0%}" for shares in statistics.moving if shares.frames]
        return {
            "frames": statistics.frames_out,
            "frames/s": round(self.fps, 1),
            "latency p50, ms": round(statistics.latency(50, last=100), 1),
            "latency p99, ms": round(statistics.latency(99, last=100), 1),
            "dropped": sum(reader.dropped for reader in readers),
            "not finite": sum(batch.broken),
            "scene cuts": sum(statistics.cut_counts),
            "key frames": sum(bank.count for bank in batch.banks),
            "returns to a key frame": sum(bank.resets for bank in batch.banks),
            "latest visit": ", ".join(
                f"frame {bank.visits[-1].last} to key frame {bank.visits[-1].keyframe}"
                for bank in batch.banks
                if bank.visits
            )
            or "none",
            **({"moving": ", ".join(moving)} if moving else {}),
        }

    def finish(self, report: dict[str, Any]) -> None:
        """Tell what the report says, in place of how far it is. report: of `make_report`."""
        self.stop()
        for source in report["sources"]:
            several = f"{source['name']}: " if len(report["sources"]) > 1 else ""
            for note in source["notes"]:
                self.say(f"{source['name']}: {note}")
            for frame in source["skipped"][:_NAMED]:
                self.say(f"{several}skipped frame {frame['index']} ({frame['name']}): {frame['reason']}")
            if len(source["skipped"]) > _NAMED:
                self.say(f"{several}skipped {len(source['skipped']) - _NAMED} more frames; --report names them")
            if source["broken"]:
                self.say(f"{several}{source['broken_count']} frames for which the network gave nothing finite")
            if source["cut_count"]:
                self.say(f"{several}{_told_cuts(source['cuts'], source['cut_count'])}")
            if not source["live"]:
                for warning in source["warnings"]:
                    self.say(f"warning: {warning}")
        for note in report["notes"]:
            self.say(f"warning: {note}")
        totals = {key: sum(source[key] for source in report["sources"]) for key in ("frames_in", "dropped")}
        skipped = sum(source["skipped_count"] for source in report["sources"])
        latency = report["latency_ms"]
        frames = "1 frame" if totals["frames_in"] == 1 else f"{totals['frames_in']} frames"
        self.say(
            f"{'interrupted: ' if report['interrupted'] else ''}{frames} in, "
            f"{report['frames_out']} out, {skipped} skipped, {totals['dropped']} dropped, {report['fps']:.1f} fps, "
            f"latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms"
        )
        if sys.stderr.isatty():
            _print_table(report)
        if report["outputs"]:
            self.say(f"wrote {', '.join(report['outputs'])}")

    def stop(self) -> None:
        """Show no longer how far the run is."""
        if self._line is not None:
            self._line.stop()
            self._line = None


def say(line: str) -> None:
    """Write a line, now."""
    # In one piece: other threads say something, too.
    print(f"{_PREFIX}{line}\n", end="", file=sys.stderr, flush=True)


def _network(batch: StreamBatch) -> str:
    """ "edge 192x256, ONNX Runtime on 2 CPU cores, depth in metres, larger is farther": height and width as --size
    takes them."""
    contract = batch.contract
    size = f"{contract.height}x{contract.width}"
    return f"{contract.model} {size}, {batch.session.runs_on}, {contract.depth_meaning.meaning}"


def _told_cuts(frames: Sequence[int], count: int) -> str:
    """ "2 scene cuts, at frames 70 and 265: the stream started anew there"."""
    *named, last = [str(frame) for frame in frames[:_NAMED]]
    more = f", {last} and {count - _NAMED} more" if count > _NAMED else f" and {last}"
    where = f"frames {', '.join(named)}{more}" if named else f"frame {last}"
    return f"{count} scene cut{'s' * (count > 1)}, at {where}: the stream started anew there"


def _described(source: Source) -> str:
    """ "walk.mp4 1280x720, 30 fps, 300 frames"."""
    info = source.info
    if source.pictures and info.frames != 1:
        return f"{source.name}, {info.frames} pictures"
    told = "length unknown" if info.about is None else f"about {info.about} frames"
    length = "live" if source.live else told if info.frames is None else f"{info.frames} frames"
    return f"{source.name} {info.width}x{info.height}, {round(info.fps, 2):g} fps, {length}"


def _print_table(report: dict[str, Any]) -> None:
    table = Table("stage", "busy, s", "of the run", "CPU, ms a frame", box=None)
    cpu = {stage: f"{seconds * 1e3:.1f}" for stage, seconds in report["cpu_seconds"]["per_frame"].items()}
    for stage, seconds in report["stage_seconds"].items():
        table.add_row(stage, f"{seconds:.2f}", f"{report['stage_shares'][stage]:.0%}", cpu.get(stage, ""))
    cores = report["cpu_seconds"]["process"] / report["seconds"]
    table.add_row("whole run", f"{report['seconds']:.2f}", f"{cores:.1f} cores", cpu["process"])
    console = Console(stderr=True)
    console.print(table)
    console.print(f"limited by {_LIMITS[report['limited_by']]}", highlight=False)
