"""`vmdepth-export`: checkpoint → step graph → engine, proven to agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.causal import causal_option
from vmdepth_export.conversion.settings import (
    ATTENTION,
    LONGEST_WINDOW,
    PRECISION,
    STREAMS,
    VIEWS_WINDOW,
    ExportSettings,
)
from vmdepth_export.parity.settings import PARITY_FRAMES
from vmdepth_export.stages import Stages
from vmdepth_runtime.cli import defaults_of, parse_size, run_command


@click.command("vmdepth-export", context_settings=defaults_of(ExportSettings))
@click.argument("source", metavar="CHECKPOINT|MODEL.onnx", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The .onnx or .engine file.")
@click.option(
    "--size", metavar="HxW", help="Pixels, multiples of the encoder's stride.  [default: the network's usual size]"
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    help=f"What encoder, decoder and products of the heads compute in.  [default: {PRECISION}, or the graph's]",
)
@click.option(
    "--temporal",
    type=click.Choice(["causal", "streaming"]),
    help="Form of attention over time; official video networks stream by the official rule, Depth Anything 3 looks at "
    "every frame alone.",
)
@causal_option("of a checkpoint", "as trained; of official files, streaming")
@click.option(
    "--window",
    type=click.IntRange(min=2),
    help=f"Frames a causal step sees; of Depth Anything 3 besides the first, {VIEWS_WINDOW} unless told, as many "
    f"as fit into memory.  [default: {LONGEST_WINDOW}]",
)
@click.option(
    "--attention",
    type=click.Choice(["explicit", "fused"]),
    help=f"As plain operations or as one operator, which compilers get wrong more often.  [default: {ATTENTION}]",
)
@click.option("--streams", type=click.IntRange(min=1), help=f"Videos in one batch.  [default: {STREAMS}]")
@click.option(
    "--dynamic-mask",
    is_flag=True,
    help="Also give 'dynamic': how much of every pixel moves by itself, told by a motion head or by attention.",
)
@click.option(
    "--proof-frames",
    type=click.IntRange(min=1),
    metavar="N",
    help="Frames that a step graph is compared over.  "
    f"[default: {PARITY_FRAMES}, fewer where that would take longer than the export itself]",
)
@click.option(
    "--target",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
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
def command(size: str | None, **options: Any) -> None:
    """Turn a checkpoint (of vmdepth-train, or official, also by its name on Hugging Face) into a step graph that
    vmdepth-run streams, and a step graph into an engine for TensorRT.

    Every graph is compared with what it is made from, states included, before it is written under its name.
    """
    from vmdepth_export.conversion.convert import export

    export(
        ExportSettings(**options, size=parse_size(size)),
        tell=click.echo,
        warn=lambda line: click.echo(line, err=True),
        stages=Stages("vmdepth-export"),
    )


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
