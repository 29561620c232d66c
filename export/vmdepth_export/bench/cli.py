"""`vmdepth-bench`: frames/s of the network, its step graph and the whole stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth_export.bench.settings import BenchSettings
from vmdepth_export.frame_size import parse_size
from vmdepth_runtime.cli import defaults_of, run_command


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
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def command(size: str | None, **options: Any) -> None:
    """Frames per second of MODEL on this machine: PyTorch step (checkpoints), ONNX step, and the whole vmdepth-run."""
    from vmdepth_export.bench.measure import benchmark

    _print(benchmark(BenchSettings(**options, size=parse_size(size))))


def _print(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    height, width = figures["size"]
    rates = figures["frames_per_second"]
    table = Table(f"{figures['model']}, {height}x{width}", "frames/s", "against the ONNX step")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.1f}", f"{rate / rates['onnx step']:.2f}×")
    console = Console()
    console.print(table)
    for title, shares in (("ONNX step", figures["step_shares"]), ("vmdepth-run, overlapping", figures["run_shares"])):
        console.print(f"{title}: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items()))
    console.print(f"vmdepth-run takes {figures['run_over_session']:.2f}× the time of the ONNX steps alone")
    console.print(f"States: {figures['state_bytes'] / 1e6:.1f} MB")
    if times := figures["temporal_heads_ms"]:
        ratio = times["re-projected"] / times["step"]
        console.print(
            f"Temporal heads: {times['step']:.1f} ms per frame; projecting the window again, as official code does, "
            f"{times['re-projected']:.1f} ms ({ratio:.1f}×)"
        )


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
