"""The report of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.scale.metres import Metres, metres_of
from vmdepth_runtime.pipeline.assembly import Pipeline
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.uri import redacted


def make_report(pipeline: Pipeline, resize: Resize, failure: Exception | None) -> dict[str, Any]:
    """What `--report` writes. failure: what broke the run off."""
    batch, statistics = pipeline.batch, pipeline.statistics
    readers, writers = pipeline.readers, pipeline.writers
    contract = batch.contract
    metres = batch.metres if isinstance(batch.metres, Metres) else metres_of(contract)
    stages = {
        "read": sum(reader.timer.seconds for reader in readers),
        "step": statistics.step_seconds,
        "anchor": statistics.anchor_seconds,
        "write": sum(writer.timer.seconds for writer in writers),
    }
    return {
        "model": {
            "file": str(batch.session.path),
            "name": contract.model,
            "weights_hash": contract.weights_hash,
            "size": [contract.height, contract.width],
            "resize": resize,
            "depth_kind": contract.depth_kind,
            "depth_unit": contract.depth_unit,
            "metres": None if metres is None else str(metres),
        },
        "backend": batch.session.backend,
        "interrupted": pipeline.interrupt.pressed,
        "failure": None if failure is None else str(failure),
        "stalls": pipeline.watchdog.stalls,
        **statistics.as_dict(),
        # Stages overlap: together they may be busy for longer than the run took.
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in stages.items()},
        "stage_shares": {stage: round(seconds / statistics.seconds, 4) for stage, seconds in stages.items()},
        "cpu_seconds": _cpu_seconds(pipeline),
        "limited_by": _limited_by(pipeline),
        "encoder": next((sink.encoder for writer in writers for sink in writer.sinks if sink.encoder), None),
        "sources": [_of_source(pipeline, stream) for stream in range(len(readers))],
        "notes": [*(note for writer in writers for sink in writer.sinks for note in sink.notes), *_senseless(pipeline)],
        "outputs": [sink.name for writer in writers for sink in writer.sinks if sink.frames],
    }


# What the whole of several runs one after the other has the sum or the list of.
_SUMS = ("stalls", "frames_out", "seconds")
_LISTS = ("notes", "outputs")


def join_reports(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report of runs one after the other. What is of all together stands where it does in a report of one; each
    source's entry has under "run" what its own run measured, and what it failed of."""
    whole: dict[str, Any] = {key: next((r[key] for r in reports if key in r), None) for key in ("model", "backend")}
    whole["interrupted"] = any(report["interrupted"] for report in reports)
    whole["failure"] = next((report["failure"] for report in reports if report["failure"]), None)
    whole |= {key: sum(report.get(key, 0) for report in reports) for key in _SUMS}
    whole["seconds"] = round(whole["seconds"], 3)
    whole["fps"] = round(whole["frames_out"] / whole["seconds"], 2) if whole["seconds"] else 0.0
    whole |= {key: [entry for report in reports for entry in report.get(key, [])] for key in _LISTS}
    whole["sources"] = [
        {**source, "run": {key: value for key, value in report.items() if key not in ("model", "backend", "sources")}}
        for report in reports
        for source in report["sources"]
    ]
    return whole


def unread_report(source: str, failure: Exception | None) -> dict[str, Any]:
    """The part of a joined report that is of a source which gave no frame. source: may hold credentials."""
    return {
        "interrupted": False,
        "failure": None if failure is None else str(failure),
        "sources": [{"name": redacted(source), "frames_in": 0, "frames_out": 0}],
    }


def _cpu_seconds(pipeline: Pipeline) -> dict[str, Any]:
    """Time on a core: of each stage that of its own thread, of a step with what is done around it; of the process that
    of all threads, those of decoder and network included."""
    statistics = pipeline.statistics
    seconds = {
        "read": sum(reader.timer.cpu_seconds for reader in pipeline.readers),
        "step": pipeline.stepping.cpu_seconds,
        "write": sum(writer.timer.cpu_seconds for writer in pipeline.writers),
        "process": statistics.cpu_seconds,
    }
    frames = max(statistics.frames_out, 1)
    return {
        **{stage: round(busy, 3) for stage, busy in seconds.items()},
        "per_frame": {stage: round(busy / frames, 5) for stage, busy in seconds.items()},
    }


def _limited_by(pipeline: Pipeline) -> str:
    """The stage that the others waited for: the one that was busy for longest. Waiting for a live source counts as
    reading, unless frames of it were dropped."""
    reading = [r.timer.seconds for r in pipeline.readers if not (r.source.live and r.dropped)]
    busy = {
        "reading": max(reading, default=0.0),
        "network": pipeline.stepping.seconds,
        "writing": max(writer.timer.seconds for writer in pipeline.writers),
    }
    return max(busy, key=busy.__getitem__)


def _camera(lens: Lens | None, source: Source) -> dict[str, Any] | None:
    """What points and metres were made with, in pixels of the source's frames; of pictures those of the first."""
    if lens is None:
        return None
    bent = {} if lens.distortion is None else {"distortion": asdict(lens.distortion)}
    return {"given": lens.given, **asdict(lens.camera(source.info.width, source.info.height)), **bent}


def _senseless(pipeline: Pipeline) -> Iterator[str]:
    """A line on each source whose depth given metres leave nothing of."""
    metres = pipeline.batch.metres
    for reader, count in zip(pipeline.readers, pipeline.batch.senseless, strict=False):
        if count and isinstance(metres, Metres):
            frames = "1 frame has" if count == 1 else f"{count} frames have"
            ends = f"{metres.farthest:g} m or below a millimetre" if metres.inverse else "below a millimetre"
            yield (
                f"{reader.source.name}: {frames} nearly all depth at {ends}; is --metres {metres} of this model, and "
                "of such a place?"
            )


def _of_source(pipeline: Pipeline, stream: int) -> dict[str, Any]:
    batch, statistics = pipeline.batch, pipeline.statistics
    reader, writer = pipeline.readers[stream], pipeline.writers[stream]
    source, info = reader.source, reader.source.info
    running = batch.metres[stream] if isinstance(batch.metres, Sequence) else None
    out = statistics.frames[stream]
    return {
        "name": source.name,
        "live": source.live,
        "width": info.width,
        "height": info.height,
        "fps": round(info.fps, 3),
        "promised_frames": info.frames,
        "frames_in": out + source.skipped_count + reader.dropped,
        "frames_out": out,
        "dropped": reader.dropped,
        "losses": source.losses,
        "skipped_count": source.skipped_count,
        "skipped": [{"index": s.index, "name": s.name, "reason": s.reason} for s in source.skipped],
        "broken_count": batch.broken[stream],
        "broken": statistics.broken[stream],
        "cut_count": statistics.cut_counts[stream],
        "cuts": statistics.cuts[stream],
        "warnings": [*source.warnings, *(running.warnings if running else [])],
        "notes": source.notes,
        "camera": _camera(pipeline.lenses[stream], source),
        "alignment": running.as_dict() if running else None,
        "moving": statistics.moving[stream].as_dict(),
        "colour_range": None if writer.bounds is None else {"low": writer.bounds[0], "high": writer.bounds[1]},
        "keyframes": batch.banks[stream].as_dict() if batch.banks else None,
    }
