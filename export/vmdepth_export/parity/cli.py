"""`vmdepth-parity`: do two models give the same depth and remember the same?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmdepth.causal import causal_option
from vmdepth_export.parity.settings import ParitySettings
from vmdepth_runtime.cli import defaults_of, device_option, run_command

if TYPE_CHECKING:
    from rich.table import Table

    from vmdepth_export.parity.comparison import ParityReport

_COLUMNS = ("largest", "mean", "p99", "cosine", "growth")


@click.command("vmdepth-parity", context_settings=defaults_of(ParitySettings))
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--source", help="Video, image folder or recording of a robot to run both over. [default: the bundled clip]"
)
@click.option("--topic", metavar="NAME", help="The pictures of a recording that has several topics of them.")
@click.option("--frames", show_default=True, type=click.IntRange(min=1), help="At most this many.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
@click.option(
    "--picture", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the error over frames, PNG."
)
@causal_option("of checkpoints", "as trained; of official files, streaming")
@device_option("CANDIDATE runs on, a step graph as it is", "cpu for a step graph, cuda for an engine")
@click.option("--bisect", is_flag=True, help="If they disagree, name the first tensor that does, in graph order.")
def command(**options: Any) -> int:
    """Prove that CANDIDATE computes what REFERENCE does.

    Each is a checkpoint (.safetensors, .pth), a step graph (.onnx), an engine (.engine), or the name of one on Hugging
    Face. Step graphs in half precision run with every result rounded to the type that the graph gives it.
    """
    from rich.console import Console

    from vmdepth_export.parity.proof import compare_models, find_divergence

    settings = ParitySettings(**options)
    result = compare_models(settings, warn=lambda line: click.echo(line, err=True))
    Console().print(_table(result))
    verdict = "agree" if result.agrees else "DISAGREE"
    click.echo(
        f"{settings.reference} and {settings.candidate} {verdict} over {result.frames} frames: of the depth δ1 "
        f"{result.agreement.delta1:.4f} (≥ {result.tolerance.delta1:g}), AbsRel {result.agreement.absrel:.2e}"
    )
    if settings.bisect and not result.agrees:
        click.echo(find_divergence(settings))  # told last: it takes as long again
    return 0 if result.agrees else 1


def _table(result: ParityReport) -> Table:
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


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
