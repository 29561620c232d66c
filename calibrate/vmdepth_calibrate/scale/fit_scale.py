"""A step graph without a unit and measured depth become a step graph in metres."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from vmdepth.data.rgbd import RgbdFrame, at_places
from vmdepth.official.hub import local_file
from vmdepth_calibrate.scale.measured import Measured, open_measured
from vmdepth_calibrate.scale.settings import ScaleSettings
from vmdepth_export.graph import read_step_graph, save_step_graph, with_contract
from vmdepth_export.metres import bake_metres
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.parity.in_metres import InMetres
from vmdepth_export.parity.opening import open_graph, open_model
from vmdepth_runtime.atomic_files import being_written, check_report, check_target, part_name, write_report
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.depth.scale.fit import FEWEST, NO_BETTER, FitErrors, NoFit, fit_errors, fit_metres, some_points
from vmdepth_runtime.depth.scale.metres import Metres
from vmdepth_runtime.depth.scale.nearest import APART
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sources.listing import is_recording

Points: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of one frame: depth `[N]` as the network gave it, and metres `[N]` as they were measured."""

HELD_OUT = 5  # one of so many parts of the frames, the last, only measures
_POINTS = 500_000  # that all frames together give at most
_EACH = 5_000  # and one of them
_LOOKED_AT = 10  # times as many frames as are wanted with measured depth, at most
_PROOF = 12  # frames that the written graph is compared over: what it adds remembers nothing


@dataclass(frozen=True)
class ScaleResult:
    """What was found.

    Attributes:
        metres: What makes metres of the network's depth.
        frames: With measured depth, those held out included.
        seen: Errors over the frames that it was fitted to.
        held_out: Errors over those that it was not.
    """

    metres: Metres
    frames: int
    seen: FitErrors
    held_out: FitErrors


def fit_scale(
    settings: ScaleSettings,
    *,
    warn: Callable[[str], None] = lambda line: None,
    moved: Callable[[int, int | None], None] = lambda done, total: None,
) -> ScaleResult:
    """Measure what makes metres of a step graph's depth and bake it in, as `vmdepth-calibrate scale` does.

    The data is streamed through the graph as `vmdepth-run` would, states included. The last fifth of the frames is not
    fitted to, and says how far the metres are off.

    Args:
        settings: What is fitted to what.
        warn: Gets a line where there is little data, or some of it cannot be read.
        moved: Told how many frames with measured depth are done, of how many; None where nobody knows.

    Returns:
        What was found; the file is there.

    Raises:
        InputError: For settings, a graph, data or an output that is not as it should be; fewer than 100 points.
        WorkError: Where the fit is worse than it should be; nothing but the report is written then.
    """
    output = settings.output
    if output.suffix != ".onnx":
        raise InputError(f"{output}: the output should end in .onnx")
    check_target(output, settings.network)
    check_report(settings.report, output, settings.network, Path(settings.data))
    model = local_file(settings.network)
    proto, contract = read_step_graph(model)
    if contract.depth_unit is not None:
        raise InputError(f"{model}: gives {contract.depth_meaning.meaning} already; take the graph that it was made of")
    measured = open_measured(settings, (contract.height, contract.width), warn)
    with open_model(model) as session:
        frames = list(_points(session, measured, settings.frames, moved))
    result, refused = _fitted(frames, contract, settings, measured.at_edges)
    if result is None or refused:
        _report(result, refused, len(frames), settings)
        raise WorkError(f"{output}: not written, {refused}")
    if len(frames) == 1:
        warn(f"{settings.data}: depth was measured of one frame, which then also says how well it fits")
    _write(proto, contract, result, settings, model)
    _report(result, "", len(frames), settings)
    return result


def _points(
    session: StepSession, measured: Measured, most: int, moved: Callable[[int, int | None], None]
) -> Iterator[Points]:
    """Of every frame with measured depth, in order, some of its points."""
    total = None if measured.frames is None else min(measured.frames, most)
    each = min(_EACH, max(FEWEST, _POINTS // (total or most)))
    random, done, left = np.random.default_rng(0), 0, _LOOKED_AT * most
    for sequence in measured.sequences:
        session.reset()
        for frame in sequence:
            if done == most or left == 0:
                return
            left -= 1
            predicted, true = at_places(_depth(session, frame), frame)
            points = some_points(predicted, true, each, random)
            if len(points[0]):
                done += 1
                yield points
            moved(done, total)


def _depth(session: StepSession, frame: RgbdFrame) -> NDArray[np.float32]:
    """The network's depth of a picture, float32 [H, W], in its own unit."""
    for place in session.frame:
        resize_frame(frame.image, place, "area")
    depth = np.empty(frame.image.shape[:2], np.float32)
    DepthResizer("area")(session.step()["depth"][0], depth)
    return depth


def _fitted(
    frames: Sequence[Points], contract: StepContract, settings: ScaleSettings, at_edges: int
) -> tuple[ScaleResult | None, str]:
    """What was found, None where there is no fit; and why it should not be written, empty where it should.

    at_edges: points that were left out there, for errors. Raises InputError where too little was measured.
    """
    held_out = max(1, len(frames) // HELD_OUT)
    seen, unseen = frames[: len(frames) - held_out] or frames, frames[len(frames) - held_out :]
    count = sum(len(points[0]) for points in seen)
    if count < FEWEST:
        recorded = is_recording(Path(settings.data))
        near = f", of a recording within {APART // 1_000_000} ms of a picture" if recorded else ""
        why = "are left out, which lie at edges of the depth, where it jumps from pixel to pixel"
        left = f"; {at_edges} more {why}: is it depth, and registration_px as it should be?" if at_edges else ""
        few = f"{count} points of measured depth to fit to{near}, and it takes {FEWEST}"
        raise InputError(f"{settings.data}: {few}{left}")
    depth, measured = _together(seen)
    try:
        metres = fit_metres(depth, measured, contract.depth_meaning)
    except NoFit as error:
        return None, f"{settings.network} does not fit {settings.data}: {error}"
    errors, (_, unseen_measured) = fit_errors(metres, *_together(unseen)), _together(unseen)
    result = ScaleResult(metres, len(frames), fit_errors(metres, depth, measured), errors)
    off = f"half of the held-out points are off by {errors.median:.1%} of their distance or more"
    if errors.median > settings.limit:
        return result, (
            f"{off}, and --limit is {settings.limit:.1%}; of the frames that it was fitted to it is "
            f"{result.seen.median:.1%}"
        )
    constant = float(np.median(np.abs(np.median(measured) / unseen_measured - 1)))
    if errors.median > NO_BETTER * constant:
        return result, f"{off}, and one distance for all of them is off by {constant:.1%}"
    return result, ""


def _report(result: ScaleResult | None, refused: str, frames: int, settings: ScaleSettings) -> None:
    """The figures, where they are asked for. refused: why nothing is written of it; empty where it is."""
    if settings.report:
        found = {"metres": None, "frames": frames, "seen": None, "held_out": None} if result is None else asdict(result)
        facts = {"data": settings.data, "limit": settings.limit, "refused": refused or None}
        write_report({**found, **facts}, settings.report)


def _together(frames: Sequence[Points]) -> Points:
    return np.concatenate([points[0] for points in frames]), np.concatenate([points[1] for points in frames])


def _write(
    proto: onnx.ModelProto, contract: StepContract, result: ScaleResult, settings: ScaleSettings, model: Path
) -> None:
    """The graph in metres, under its name once its depth is what the metres make of the other's."""
    measured = {
        "data": Path(settings.data).name,
        "frames": result.frames,
        "median_error": result.held_out.median,
        "mean_error": result.held_out.mean,
        "delta1": result.held_out.delta1,
    }
    baked, contract = bake_metres(proto, contract, result.metres, measured)
    with InMetres(open_model(model), result.metres) as reference, open_graph(baked) as candidate:
        clip = clip_frames(_PROOF, contract.height, contract.width, contract.streams)
        report = compare(reference, candidate, clip)
    if not report.agrees:
        raise WorkError(f"{settings.output}: not written, its depth is not that of {model} in metres")
    figures: dict[str, Any] = {**report.summary(), "reference": model.name}
    part = part_name(settings.output)
    with being_written(settings.output, part):
        save_step_graph(with_contract(baked, replace(contract, parity=figures)), part)
        part.replace(settings.output)


def summary(result: ScaleResult) -> str:
    """What was found, in one line."""
    errors = result.held_out
    frames = "1 frame" if result.frames == 1 else f"{result.frames} frames"
    return (
        f"held-out depth is off by {errors.median:.1%} in the median, {errors.mean:.1%} in the mean, δ1 "
        f"{errors.delta1:.3f}, of {frames}; the same for one run: --metres {result.metres}"
    )
