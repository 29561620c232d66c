"""`vmdepth-parity`: do two sides give the same depth and remember the same, frame after frame?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth_runtime.atomic_files import being_written, check_target, part_name, write_report
from vmdepth_runtime.cli import run_command

if TYPE_CHECKING:
    from rich.table import Table

    from vmdepth_export.parity.comparison import ParityReport

_COLUMNS = ("largest", "mean", "p99", "cosine", "growth")


@click.command("vmdepth-parity")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--source", help="Video or image folder to run both over. [default: rendered frames]")
@click.option("--frames", default=200, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the error over frames, PNG."
)
@click.option("--bisect", is_flag=True, help="If they disagree, name the first tensor that does, in graph order.")
def parity(
    reference: Path, candidate: Path, source: str | None, frames: int, report: Path | None, picture: Path | None,
    bisect: bool,
) -> int:  # fmt: skip
    """Prove that CANDIDATE computes what REFERENCE does.

    Each is a checkpoint (.safetensors, .pth), a step graph (.onnx) or an engine (.engine). Step graphs in half
    precision run with every result rounded to the type that the graph gives it.
    """
    from rich.console import Console

    from vmdepth_export.parity.bisect import first_divergence
    from vmdepth_export.parity.comparison import compare
    from vmdepth_export.parity.frames import choose_frames
    from vmdepth_export.parity.sides import open_sides
    from vmdepth_runtime.errors import WorkError

    for target in (report, picture):
        if target:
            check_target(target)
    with open_sides(reference, candidate) as (first, second):
        contract = second.contract
        try:
            result = compare(first, second, choose_frames(source, frames, contract))
        except WorkError as error:
            if not bisect:
                raise
            raise WorkError(f"{error}; {first_divergence(reference, candidate, source, frames)}") from None
    if report:
        write_report(result.to_dict(), report)
    if picture:
        draw(result, picture)
    Console().print(table(result))
    verdict = "agree" if result.agrees else "DISAGREE"
    click.echo(
        f"{reference} and {candidate} {verdict} over {result.frames} frames: of the depth δ1 "
        f"{result.agreement.delta1:.4f} (≥ {result.tolerance.delta1:g}), AbsRel {result.agreement.absrel:.2e}"
    )
    if bisect and not result.agrees:
        click.echo(first_divergence(reference, candidate, source, frames))
    return 0 if result.agrees else 1


def table(result: ParityReport) -> Table:
    """The figures of every output beside what is allowed of them."""
    from rich.table import Column, Table

    drawn = Table(
        Column("output", no_wrap=True, min_width=22),
        *_COLUMNS,
        title=f"errors in shares of the range, tolerance of {result.precision}",
    )
    allowed = [getattr(result.tolerance, column) for column in _COLUMNS]
    signs = ["≥" if column == "cosine" else "≤" for column in _COLUMNS]
    limits = ["" if limit is None else f"{sign} {limit:g}" for sign, limit in zip(signs, allowed, strict=True)]
    drawn.add_row("allowed", *limits, end_section=True)
    for name, figures in result.outputs.items():
        wrong = result.wrong.get(name, [])
        cells = []
        for column in _COLUMNS:
            value = getattr(figures, column)
            text = "" if value is None else f"{value:.6f}" if column == "cosine" else f"{value:.2g}"
            cells.append(f"{text} NO" if column in wrong else text)
        drawn.add_row(name, *cells)
    return drawn


def draw(result: ParityReport, path: Path) -> None:
    """Mean error of depth and of the worst state over frames, and the tolerance, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for name, errors in result.history.items():
        if any(errors):
            axes.semilogy(range(len(errors)), errors, label=name)
    axes.axhline(result.tolerance.mean, color="black", linestyle="--", label=f"tolerance of {result.precision}")
    axes.set_xlabel("frame")
    axes.set_ylabel("mean error, share of the range")
    axes.legend()
    axes.grid(alpha=0.3)
    part = part_name(path)
    with being_written(path, part):
        figure.savefig(part, format="png", dpi=100)
        part.replace(path)


def main() -> NoReturn:
    run_command(parity)


if __name__ == "__main__":
    main()
