"""`vmdepth-calibrate`: a float32 step graph and real video become a quantised step graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from vmdepth_runtime.atomic_files import being_written, check_target, part_name, write_report
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError, WorkError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vmdepth_calibrate.quantise import Form, Precision
    from vmdepth_calibrate.sensitivity import LayerCost
    from vmdepth_export.parity.comparison import ParityReport

_T = TypeVar("_T")
ENOUGH = 100  # frames below which ranges are likely to miss something
HELD_OUT = 5  # every so manieth part of the frames, the last, only measures
SENSITIVITY_FRAMES = 8
_SHOWN = 10


def calibrate(
    model: Path,
    frames: Sequence[NDArray[np.uint8]],
    output: Path,
    *,
    precision: Precision = "int8",
    form: Form = "tensorrt",
    keep_above: float | None = None,
    sensitivity: bool = False,
) -> tuple[ParityReport, list[LayerCost]]:
    """Write the quantised form of a step graph; the file appears only if its depth agrees with the float32 one.

    frames: uint8 [B, H, W, 3], in the order of the stream; the last fifth is held out and measures. keep_above: layers
    that alone cost more (see `LayerCost`) stay in float32. Returns what was measured, and the costs if asked for.
    Raises InputError for a graph that is not float32, WorkError if the two do not agree.
    """
    from vmdepth_calibrate.quantise import layers, quantise, watched_tensors
    from vmdepth_calibrate.ranges import observe
    from vmdepth_calibrate.sensitivity import layer_costs
    from vmdepth_export.graph import expand, read_step_graph, save_step_graph, with_contract
    from vmdepth_export.parity.comparison import compare
    from vmdepth_export.parity.sides import open_graph

    proto, contract = read_step_graph(model)
    if set(contract.precision.values()) != {"float32"}:
        raise InputError(f"{model}: is not float32; calibrate the fp32 graph, and bake fp16 or bf16 into the result")
    proto = expand(proto)
    held_out = max(1, len(frames) // HELD_OUT)
    seen, unseen = frames[: len(frames) - held_out] or frames, frames[len(frames) - held_out :]
    reference = open_graph(proto)
    ranges = observe(proto, watched_tensors(proto, form), reference, _shown(seen, "ranges", len(seen))).ranges()
    chosen = [node.name for node in layers(proto)]
    costs: list[LayerCost] = []
    if sensitivity or keep_above is not None:
        found = layer_costs(proto, contract, ranges, form, precision, unseen[:SENSITIVITY_FRAMES])
        costs = list(_shown(found, "layer by layer", len(chosen)))
    if keep_above is not None:
        chosen = [cost.layer for cost in costs if cost.error <= keep_above]
        if not chosen:
            least = min(cost.error for cost in costs)
            raise InputError(
                f"--keep-above {keep_above:g}: leaves no layer to quantise; the cheapest costs {least:.2g}"
            )
    quantised, quantised_contract = quantise(proto, contract, ranges, chosen, form, precision)
    candidate = open_graph(with_contract(quantised, quantised_contract))
    report = compare(reference, candidate, _shown(unseen, "parity", len(unseen)))
    if not report.agrees:
        raise WorkError(
            f"{output}: not written, its depth is too far from that of {model} ({_told(report)}); leave the worst "
            "layers in float32 with --keep-above"
        )
    figures = {**report.summary(), "reference": model.name}
    part = part_name(output)
    with being_written(output, part):
        save_step_graph(with_contract(quantised, replace(quantised_contract, parity=figures)), part)
        part.replace(output)
    return report, costs


@click.command("vmdepth-calibrate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="SOURCE", help="Video or image folder like what the camera will see.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The .onnx file.")
@click.option("--precision", type=click.Choice(["int8", "fp8"]), default="int8", show_default=True)
@click.option(
    "--for",
    "form",
    type=click.Choice(["tensorrt", "cpu"]),
    default="tensorrt",
    show_default=True,
    help="Which form of quantisation; each is slow or refused on the other.",
)
@click.option("--frames", default=300, show_default=True, type=click.IntRange(min=2), help="At most this many.")
@click.option("--sensitivity", is_flag=True, help="Also measure what each layer costs alone; takes minutes.")
@click.option(
    "--keep-above",
    type=click.FloatRange(min=0),
    metavar="SHARE",
    help="Leave layers in float32 that alone change the depth by more than this share of its range.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def command(
    model: Path,
    data: str,
    output: Path,
    precision: Precision,
    form: Form,
    frames: int,
    sensitivity: bool,
    keep_above: float | None,
    report: Path | None,
) -> None:
    """Quantise the step graph MODEL with ranges from running it over real video.

    The linear layers and convolutions of encoder and decoder are quantised, the rest stays as it is. Afterwards
    'vmdepth-export --precision fp16' bakes half precision into that rest, and builds the engine.
    """
    if output.suffix != ".onnx":
        raise InputError(f"{output}: the output should end in .onnx")
    if precision == "fp8" and form == "cpu":
        raise InputError("--precision fp8 --for cpu: no CPU computes in FP8; take int8")
    check_target(output, model)
    if report:
        check_target(report)

    from vmdepth_export.graph import read_step_graph
    from vmdepth_export.parity.frames import source_frames

    _, contract = read_step_graph(model)
    images = list(source_frames(data, frames, contract.height, contract.width, contract.streams))
    if not images:
        raise InputError(f"{data}: has no readable frame; choose another --data")
    if len(images) < ENOUGH:
        click.echo(f"{data}: has only {len(images)} frames; ranges from fewer than {ENOUGH} often miss some", err=True)
    result, costs = calibrate(
        model, images, output, precision=precision, form=form, keep_above=keep_above, sensitivity=sensitivity
    )
    if report:
        figures: dict[str, Any] = {**result.to_dict(), "layers": [asdict(cost) for cost in costs]}
        write_report(figures, report)
    for cost in sorted(costs, key=lambda cost: -cost.error)[:_SHOWN]:
        kept = " (kept in float32)" if keep_above is not None and cost.error > keep_above else ""
        click.echo(f"  {100 * cost.error:.3f} %  {cost.layer}{kept}")
    click.echo(f"{output}: {precision} for {form}, {output.stat().st_size / 1e6:.1f} MB; {_told(result)}")


def _shown(items: Iterable[_T], what: str, total: int) -> Iterable[_T]:
    """The items, with a bar on the terminal while they are gone through."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


def _told(report: ParityReport) -> str:
    return (
        f"over {report.frames} held-out frames depth changes by {100 * report.depth.mean:.2f} % of its range, "
        f"δ1 {report.agreement.delta1:.4f} (≥ {report.tolerance.delta1:g})"
        + (f"; beyond tolerance: {', '.join(report.wrong)}" if report.wrong else "")
    )


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
