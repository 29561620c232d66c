"""`vmdepth-export`: checkpoint → step graph → engine. What is written agrees with what it was made from."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from vmdepth_export.parity.frames import PARITY_FRAMES
from vmdepth_runtime.atomic_files import being_written, check_target, part_name
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError, WorkError

if TYPE_CHECKING:
    import onnx

    from vmdepth.networks.attention import AttentionForm
    from vmdepth.networks.video_depth import VideoDepth
    from vmdepth_export.parity.comparison import ParityReport
    from vmdepth_export.precision import Precision
    from vmdepth_runtime.contract import StepContract
    from vmdepth_runtime.sessions.base import StepSession
    from vmdepth_runtime.sessions.engine_sidecar import Target

_LARGEST = 2**31 - 2**24  # bytes of weights: a protobuf ends at 2 GiB, and holds the nodes too


def export_step_graph(
    model: VideoDepth,
    output: Path,
    height: int,
    width: int,
    *,
    streams: int = 1,
    frames: int = PARITY_FRAMES,
    precision: Precision = "fp32",
    attention: AttentionForm = "explicit",
) -> ParityReport:
    """Write the step graph of a network, checked against the network itself over `frames` rendered frames.

    The file appears under its name only if depth and states agree. Raises WorkError if they do not, InputError for a
    size that is no multiple of the encoder's stride and a network of more than 2 GiB.
    """
    from vmdepth.session import TorchSession, contract_of
    from vmdepth_export.precision import bake
    from vmdepth_export.step_graph import to_onnx

    contract = contract_of(model, height, width, streams)
    size = sum(parameter.numel() for parameter in model.parameters()) * 4
    if size > _LARGEST:
        raise InputError(
            f"{model.name}: its {size / 2**30:.1f} GiB of weights do not fit into one ONNX file, which ends at 2"
        )
    proto = to_onnx(model, height, width, streams, attention)
    if precision != "fp32":
        proto, contract = bake(proto, contract, precision)
    reference = TorchSession(model, height, width, streams)
    return _write_proven(proto, contract, output, reference, "PyTorch step", frames)


def bake_step_graph(source: Path, output: Path, precision: Precision, *, frames: int = PARITY_FRAMES) -> ParityReport:
    """Write a step graph in another precision, checked in the same way against the one that it is made from.

    Raises InputError for a source that is no float32 step graph, WorkError if the two do not agree.
    """
    from vmdepth_export.graph import read_step_graph
    from vmdepth_export.parity.sides import open_side
    from vmdepth_export.precision import bake

    proto, contract = bake(*read_step_graph(source), precision)
    return _write_proven(proto, contract, output, open_side(source), source.name, frames)


def _write_proven(
    proto: onnx.ModelProto, contract: StepContract, output: Path, reference: StepSession, name: str, frames: int
) -> ParityReport:
    from vmdepth_export.graph import save_step_graph, with_contract
    from vmdepth_export.parity.comparison import compare
    from vmdepth_export.parity.frames import choose_frames
    from vmdepth_export.parity.sides import open_side

    contract = replace(contract, producer=f"vmdepth {version('vmdepth')}")
    part = part_name(output).with_suffix(".part.onnx")
    with being_written(output, part):
        save_step_graph(with_contract(proto, contract), part)
        candidate = open_side(part)
        report = compare(reference, candidate, choose_frames(None, frames, contract))
        candidate.close()
        reference.close()
        if not report.agrees:
            wrong = max(report.wrong, key=lambda output: report.worst[output])
            figures = report.outputs[wrong]
            raise WorkError(
                f"{output}: not written, ONNX Runtime and {name} disagree: {wrong} by {figures.largest:.1e} at frame "
                f"{figures.worst_frame} ({', '.join(report.wrong[wrong])} beyond the tolerance of {report.precision})"
            )
        contract = replace(contract, parity={**report.summary(), "reference": name})
        save_step_graph(with_contract(proto, contract), part)
        part.replace(output)
    return report


def parse_size(size: str) -> tuple[int, int]:
    """Height and width of "HxW". Raises InputError for anything else."""
    height, x, width = size.partition("x")
    if not (x and height.isdigit() and width.isdigit()):
        raise InputError(f"--size {size}: should be HxW, for example 192x272")
    return int(height), int(width)


@click.command("vmdepth-export")
@click.argument("source", metavar="CHECKPOINT|MODEL.onnx", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The .onnx or .engine file.")
@click.option(
    "--size", metavar="HxW", help="Pixels, multiples of the encoder's stride.  [default: the network's usual size]"
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    help="What encoder, decoder and products of the heads compute in.  [default: fp32, or the graph's]",
)
@click.option(
    "--temporal",
    type=click.Choice(["causal", "streaming"]),
    help="Form of attention over time; official video networks stream by the official rule.",
)
@click.option("--window", type=click.IntRange(2, 32), help="Frames a causal step sees.  [default: 32]")
@click.option(
    "--attention",
    type=click.Choice(["explicit", "fused"]),
    help="As plain operations or as one operator, which compilers get wrong more often.  [default: explicit]",
)
@click.option("--streams", type=click.IntRange(min=1), help="Videos in one batch.  [default: 1]")
@click.option(
    "--target",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    default="tensorrt",
    show_default=True,
    help="What builds an .engine.",
)
@click.option(
    "--compute-capability",
    "capabilities",
    multiple=True,
    metavar="X.Y",
    help="GPUs that tensorrt-rtx builds for; may be given several times.  [default: the GPU here, or all]",
)
@click.option("--workspace", type=click.IntRange(min=1), metavar="MIB", help="GPU memory that kernels may use besides.")
@click.option("--triton", type=click.Path(path_type=Path, file_okay=False),
              help="Also write a Triton Inference Server model repository there, or only that.")  # fmt: skip
def export(
    source: Path,
    output: Path | None,
    size: str | None,
    precision: Precision | None,
    temporal: Literal["causal", "streaming"] | None,
    window: int | None,
    attention: AttentionForm | None,
    streams: int | None,
    target: Target,
    capabilities: tuple[str, ...],
    workspace: int | None,
    triton: Path | None,
) -> None:
    """Turn a checkpoint (of vmdepth-train, or official) into a step graph that vmdepth-run streams, and a step graph
    into an engine for TensorRT.

    Every graph is compared with what it is made from, states included, before it is written under its name.
    """
    network_options = {"--size": size, "--temporal": temporal, "--window": window, "--attention": attention,
                       "--streams": streams}  # fmt: skip
    if output is None and triton is None:
        raise InputError("say where it goes: -o model.onnx, -o model.engine or --triton DIR")
    if output is not None and output.suffix not in (".onnx", ".engine"):
        raise InputError(f"{output}: the output should end in .onnx or .engine")
    if source.suffix == ".onnx":
        given = [name for name, value in network_options.items() if value is not None]
        if given:
            raise InputError(f"{given[0]}: is chosen when a checkpoint is exported; {source} is a graph already")
        if precision is None and output is not None and output.suffix == ".onnx":
            raise InputError(f"{source}: is a graph already; say in which --precision {output} should be")
    if output is not None:
        check_target(output, source)

    builds = output is not None and output.suffix == ".engine"
    if builds:
        from vmdepth_export.engine import BuildSettings, build_and_tell, find_builder

        find_builder(target)  # not after minutes of exporting

    graph = _graph_for(source, output, precision)
    if graph != source:
        if source.suffix == ".onnx":
            report = bake_step_graph(source, graph, precision or "fp32")
        else:
            from vmdepth.checkpoint import load_video

            model = load_video(source, temporal, window)
            height, width = parse_size(size) if size else model.config.usual_size
            report = export_step_graph(
                model, graph, height, width, streams=streams or 1, precision=precision or "fp32",
                attention=attention or "explicit",
            )  # fmt: skip
        _tell(source, graph, report)
    if builds and output is not None:
        build_and_tell(graph, output, BuildSettings(target, capabilities, workspace))
    if triton is not None:
        from vmdepth_export.triton import write_repository

        folder = write_repository(graph, triton)
        click.echo(f"{folder}: for 'tritonserver --model-repository={triton}'")


def _graph_for(source: Path, output: Path | None, precision: str | None) -> Path:
    """The step graph that the rest is made from: the source itself, the output, or one beside an engine."""
    if output is not None and output.suffix == ".onnx":
        return output
    if source.suffix == ".onnx" and precision is None:
        return source
    if output is None:
        raise InputError("--triton takes a step graph as it is; export it first with -o model.onnx")
    # A name of its own beside graphs that may be there already.
    graph = output.with_suffix(".onnx" if source.suffix != ".onnx" else f".{precision}.onnx")
    check_target(graph, source)
    return graph


def _tell(source: Path, graph: Path, report: ParityReport) -> None:
    from vmdepth_export.graph import read_step_graph

    _, contract = read_step_graph(graph)
    unit = "depth in metres" if contract.depth_kind == "metric" else "relative inverse depth"
    click.echo(
        f"{graph}: {contract.height}x{contract.width}, {report.precision}, {unit}, "
        f"{graph.stat().st_size / 1e6:.1f} MB; agrees with {source} over {report.frames} frames: depth "
        f"{report.depth.largest:.1e}, states {report.states:.1e} of their range"
    )


def main() -> NoReturn:
    run_command(export)


if __name__ == "__main__":
    main()
