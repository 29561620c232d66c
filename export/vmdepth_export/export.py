"""`vmdepth-export`: a checkpoint becomes a step graph, and is one only when parity says so."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.contract import METADATA_KEY
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import check_target, part_name

if TYPE_CHECKING:
    import onnx

    from vmdepth.networks.video_depth import VideoDepth
    from vmdepth_export.parity import ParityReport
    from vmdepth_runtime.contract import StepContract

PARITY_FRAMES = 200


def export_step_graph(
    model: VideoDepth, output: Path, height: int, width: int, *, streams: int = 1, frames: int = PARITY_FRAMES
) -> ParityReport:
    """Write the step graph of a network, checked against the network itself over `frames` rendered frames.

    The file appears under its name only if depth and states agree. Raises WorkError if they do not, InputError for a
    size that is no multiple of 14.
    """
    from vmdepth.session import TorchSession, contract_of
    from vmdepth_export.parity import compare, rendered_frames
    from vmdepth_export.step_graph import to_onnx
    from vmdepth_runtime.session import OnnxSession

    contract = contract_of(model, height, width, streams)
    contract = replace(contract, producer=f"vmdepth {version('vmdepth')}")
    proto = to_onnx(model, height, width, streams)
    part = part_name(output)
    try:
        write_with_contract(proto, contract, part)
        candidate = OnnxSession(part)
        reference = TorchSession(model, height, width, streams)
        report = compare(reference, candidate, rendered_frames(frames, height, width, streams))
        candidate.close()
        if not report.agrees:
            wrong = max(report.worst, key=lambda name: report.worst[name])
            raise WorkError(
                f"{output}: not written, ONNX Runtime and PyTorch disagree: {wrong} by {report.worst[wrong]:.1e} "
                f"(allowed {report.tolerance:g}) at frame {report.worst_frame}"
            )
        figures = {"frames": report.frames, "depth": report.depth, "states": report.states, "reference": "PyTorch step"}
        write_with_contract(proto, replace(contract, parity=figures), part)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return report


def write_with_contract(proto: onnx.ModelProto, contract: StepContract, path: Path) -> None:
    """Save a graph with the contract as its metadata."""
    import onnx

    onnx.helper.set_model_props(proto, {METADATA_KEY: contract.to_json()})
    onnx.save(proto, path)


def parse_size(size: str) -> tuple[int, int]:
    """Height and width of "HxW". Raises InputError for anything else."""
    height, x, width = size.partition("x")
    if not (x and height.isdigit() and width.isdigit()):
        raise InputError(f"--size {size}: should be HxW, for example 196x252")
    return int(height), int(width)


@click.command("vmdepth-export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The .onnx file.")
@click.option("--size", default="196x252", show_default=True, metavar="HxW", help="Pixels, multiples of 14.")
@click.option(
    "--temporal",
    type=click.Choice(["causal", "streaming"]),
    help="Form of attention over time; official video networks stream by the official rule.",
)
@click.option("--window", type=click.IntRange(2, 32), help="Frames a causal step sees.  [default: 32]")
@click.option("--streams", default=1, show_default=True, type=click.IntRange(min=1), help="Videos in one batch.")
def export(
    checkpoint: Path,
    output: Path,
    size: str,
    temporal: Literal["causal", "streaming"] | None,
    window: int | None,
    streams: int,
) -> None:
    """Turn CHECKPOINT (of vmdepth-train, or official) into a step graph that vmdepth-run streams.

    The graph is compared with the network, states included, before it is written under its name.
    """
    if output.suffix != ".onnx":
        raise InputError(f"{output}: the output should end in .onnx")
    check_target(output, checkpoint)
    height, width = parse_size(size)

    from vmdepth.checkpoint import load_video

    model = load_video(checkpoint, temporal, window)
    report = export_step_graph(model, output, height, width, streams=streams)
    megabytes = output.stat().st_size / 1e6
    unit = "depth in metres" if model.config.depth == "metric" else "relative inverse depth"
    click.echo(
        f"{output}: {size}, {unit}, {megabytes:.1f} MB; agrees with {checkpoint} over {report.frames} frames: "
        f"depth {report.depth:.1e}, states {report.states:.1e} of their range"
    )


def main() -> NoReturn:
    run_command(export)


if __name__ == "__main__":
    main()
