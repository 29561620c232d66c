"""A float32 step graph and real video become a quantised step graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from vmdepth.official.hub import local_file
from vmdepth_calibrate.quantise import layers, quantise, watched_tensors
from vmdepth_calibrate.ranges import observe
from vmdepth_calibrate.rounding import InputMoments, with_weights
from vmdepth_calibrate.sensitivity import LayerCost, layer_costs
from vmdepth_calibrate.settings import CalibrationSettings
from vmdepth_export.graph import expand, read_step_graph, save_step_graph, with_contract
from vmdepth_export.parity.comparison import ParityReport, compare
from vmdepth_export.parity.frames import source_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_runtime.atomic_files import being_written, check_report, check_target, part_name, write_report
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.errors import InputError, WorkError

_T = TypeVar("_T")
ENOUGH = 100  # frames below which ranges are likely to miss something
HELD_OUT = 5  # every so manieth part of the frames, the last, only measures
SENSITIVITY_FRAMES = 8
_WORLDS = Path(__file__).with_name("worlds.mp4")  # frame 0 of seeds 9100, 9102 … 9138 of `render_clips`, at 192×272
_WORLD_COUNT = 20


class Track(Protocol):
    """Gives items on, and shows meanwhile how many of all are through."""

    def __call__(self, items: Iterable[_T], what: str, total: int) -> Iterable[_T]: ...


def _unseen(items: Iterable[_T], what: str, total: int) -> Iterable[_T]:
    return items


@dataclass(frozen=True)
class CalibrationResult:
    """What was measured.

    Attributes:
        parity: The quantised graph against the float32 one, over frames that no range was taken from.
        costs: Of every layer, in the order of the graph; empty where nobody asked.
    """

    parity: ParityReport
    costs: list[LayerCost]


def calibrate(
    settings: CalibrationSettings,
    *,
    warn: Callable[[str], None] = lambda line: None,
    track: Track = _unseen,
) -> CalibrationResult:
    """Quantise a step graph with ranges from running it over real video, as `vmdepth-calibrate` does.

    Args:
        settings: What is quantised, and how.
        warn: Gets a line where there is little data.
        track: Shows how far the work is.

    Returns:
        What was measured; the file is there, as its depth agrees with that of the float32 graph.

    Raises:
        InputError: For settings, a graph, data or an output that is not as it should be.
        WorkError: Where the two do not agree; nothing is written then.
    """
    model, output, data = settings.model, settings.output, settings.data
    if output.suffix != ".onnx":
        raise InputError(f"{output}: the output should end in .onnx")
    if settings.precision == "fp8" and settings.form == "cpu":
        raise InputError("--precision fp8 --for cpu: no CPU computes in FP8; take int8")
    check_target(output, model)
    check_report(settings.report, output, model, Path(data))
    settings = replace(settings, model=local_file(model))
    proto, contract = read_step_graph(settings.model)
    size = (contract.height, contract.width, contract.streams)
    remembers = bool(contract.states)
    frames = list(source_frames(data, settings.frames, *size, remembers=remembers, topic=settings.topic))
    if not frames:
        raise InputError(f"{data}: has no readable frame; choose another --data")
    if len(frames) < ENOUGH:
        count = f"--frames {settings.frames}" if len(frames) == settings.frames else f"{data} has {len(frames)} frames"
        warn(f"{count}: ranges from fewer than {ENOUGH} often miss some")
    result = calibrate_on(proto, contract, frames, settings, track)
    if settings.report:
        figures: dict[str, Any] = {**result.parity.to_dict(), "layers": [asdict(cost) for cost in result.costs]}
        write_report(figures, settings.report)
    return result


def calibrate_on(
    proto: onnx.ModelProto,
    contract: StepContract,
    frames: Sequence[NDArray[np.uint8]],
    settings: CalibrationSettings,
    track: Track = _unseen,
) -> CalibrationResult:
    """`calibrate` with what has been read already: the graph of `settings.model` and its contract, and frames.

    frames: uint8 [B, H, W, 3] in the order of the stream; the last fifth is held out and measures. Ranges are of the
    others and of twenty rendered worlds before them: what is near, far or bright as the camera has not seen it yet
    would be cut off. Raises InputError for a graph that is not float32, WorkError if the two do not agree.
    """
    if set(contract.precision.values()) != {"float32"}:
        raise InputError(
            f"{settings.model}: is not float32; calibrate the fp32 graph, and bake fp16 or bf16 into the result"
        )
    proto = expand(proto)
    held_out = max(1, len(frames) // HELD_OUT)
    unseen = frames[len(frames) - held_out :]
    worlds = source_frames(str(_WORLDS), _WORLD_COUNT, contract.height, contract.width, contract.streams)
    seen = [*worlds, *(frames[: len(frames) - held_out] or frames)]
    reference = open_graph(proto)
    watched = watched_tensors(proto, settings.form)
    moments = InputMoments(proto, layers(proto) if settings.precision == "int8" else [])
    ranges = observe(proto, watched, reference, track(seen, "ranges", len(seen)), moments).ranges()
    costs: list[LayerCost] = []
    if settings.sensitivity or settings.keep_above is not None:
        found = layer_costs(proto, contract, ranges, settings.form, settings.precision, unseen[:SENSITIVITY_FRAMES])
        costs = list(track(found, "layer by layer", len(layers(proto))))
    chosen = _chosen(proto, costs, settings.keep_above)
    rounded = with_weights(proto, moments.rounded(chosen))
    quantised, quantised_contract = quantise(rounded, contract, ranges, chosen, settings.form, settings.precision)
    candidate = open_graph(with_contract(quantised, quantised_contract))
    report = compare(reference, candidate, track(unseen, "parity", len(unseen)))
    _write_proven(quantised, quantised_contract, report, settings)
    return CalibrationResult(report, costs)


def _chosen(proto: onnx.ModelProto, costs: list[LayerCost], keep_above: float | None) -> list[str]:
    """The names of the layers to quantise. Raises InputError where none is left."""
    if keep_above is None:
        return [node.name for node in layers(proto)]
    chosen = [cost.layer for cost in costs if cost.error <= keep_above]
    if not chosen:
        least = min(cost.error for cost in costs)
        raise InputError(f"--keep-above {keep_above:g}: leaves no layer to quantise; the cheapest costs {least:.2g}")
    return chosen


def _write_proven(
    quantised: onnx.ModelProto, contract: StepContract, report: ParityReport, settings: CalibrationSettings
) -> None:
    model, output = settings.model, settings.output
    if not report.agrees:
        raise WorkError(
            f"{output}: not written, its depth is too far from that of {model} ({summary(report)}); leave the worst "
            "layers in float32 with --keep-above"
        )
    figures = {**report.summary(), "reference": model.name}
    part = part_name(output)
    with being_written(output, part):
        save_step_graph(with_contract(quantised, replace(contract, parity=figures)), part)
        part.replace(output)


def summary(report: ParityReport) -> str:
    """What quantising changes, in one line."""
    return (
        f"over {report.frames} held-out frames depth changes by {100 * report.depth.mean:.2f} % of its range, "
        f"δ1 {report.agreement.delta1:.4f} (≥ {report.tolerance.delta1:g})"
        + (f"; beyond tolerance: {', '.join(report.wrong)}" if report.wrong else "")
    )
