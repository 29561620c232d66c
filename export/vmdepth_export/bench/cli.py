"""`vmdepth-bench`: frames/s of the network, its step graph and the whole stream."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.causal import causal_option
from vmdepth_export.bench.settings import BenchSettings
from vmdepth_export.stages import Stages
from vmdepth_runtime.cli import defaults_of, device_option, parse_size, run_command


@click.command("vmdepth-bench", context_settings=defaults_of(BenchSettings))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--size", metavar="HxW", help="Of a checkpoint, pixels.  [default: the network's usual size]")
@click.option("--frames", show_default=True, type=click.IntRange(min=1), help="Steps timed per session.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Also time this step graph or engine, in the same run; may be given several times.",
)
@device_option("step graphs, engines and vmdepth-run are on", "cpu for the ONNX step, else cuda where there is one")
@causal_option("of a checkpoint", "as trained; of official files, streaming")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def command(size: str | None, **options: Any) -> None:
    """Frames per second of MODEL (a file, or a name on Hugging Face) on this machine: PyTorch step (checkpoints), ONNX
    or engine step, and the whole vmdepth-run over the bundled clip, an mp4 written. All take turns; each figure is the
    median over the rounds."""
    from vmdepth_export.bench.measure import benchmark

    settings = BenchSettings(**options, size=parse_size(size))
    warn = partial(click.echo, err=True)
    _print(benchmark(settings, stages=Stages("vmdepth-bench"), warn=warn))


def _print(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from vmdepth_export.bench.measure import ENGINE_STEP, ONNX_STEP

    height, width = figures["size"]
    rates = figures["frames_per_second"]
    base = ONNX_STEP if ONNX_STEP in rates else ENGINE_STEP
    columns = [Column(name, justify="right") for name in ("frames/s", "ms a frame", f"× {base}")]
    table = Table(f"{figures['model']}, {height}x{width}", *columns)
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.1f}", f"{1e3 / rate:.1f}", f"{rate / rates[base]:.2f}")
    console = Console()
    console.print(table)
    lines = [f"time of an ONNX step: {_told(figures['step_shares'])}"] if figures["step_shares"] else []
    lines += [
        f"time of vmdepth-run, overlapping: {_told(figures['run_shares'])}",
        f"states: {figures['state_bytes'] / 1e6:.1f} MB",
    ]
    if times := figures["temporal_heads_ms"]:
        lines.append(
            f"temporal heads: {times['step']:.1f} ms a frame; projecting the window again, as official code does: "
            f"{times['re-projected']:.1f} ms"
        )
    for line in lines:
        console.print(line, highlight=False)


def _told(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
