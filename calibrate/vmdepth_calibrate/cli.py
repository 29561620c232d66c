"""`vmdepth-calibrate`: a float32 step graph and video become an INT8 or FP8 graph."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from vmdepth_calibrate.scale.cli import command as scale
from vmdepth_calibrate.settings import CalibrationSettings
from vmdepth_runtime.cli import defaults_of, run_command

if TYPE_CHECKING:
    from vmdepth_calibrate.sensitivity import LayerCost

_T = TypeVar("_T")
_SHOWN = 10  # layers, those that cost most

subcommands = {"scale": scale}
"""By the first word of the command line."""


@click.command("vmdepth-calibrate", context_settings=defaults_of(CalibrationSettings))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="SOURCE",
              help="Video, image folder or recording of a robot, like what the camera will see.")  # fmt: skip
@click.option("--topic", metavar="NAME", help="The pictures of a recording that has several topics of them.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The .onnx file.")
@click.option("--precision", type=click.Choice(["int8", "fp8"]), show_default=True)
@click.option(
    "--for",
    "form",
    type=click.Choice(["tensorrt", "cpu"]),
    show_default=True,
    help="Which form of quantisation; each is slow or refused on the other.",
)
@click.option("--frames", show_default=True, type=click.IntRange(min=2), help="At most this many.")
@click.option("--sensitivity", is_flag=True, help="Also measure what each layer costs alone; takes minutes.")
@click.option(
    "--keep-above",
    type=click.FloatRange(min=0),
    metavar="SHARE",
    help="Leave layers in float32 that alone change the depth by more than this share of its range.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def command(**options: Any) -> None:
    """Quantise the step graph MODEL, or one of Hugging Face (owner/name:model.onnx), with ranges from running it over
    real video.

    The linear layers and convolutions of encoder and decoder are quantised, the rest stays as it is. Afterwards
    'vmdepth-export --precision fp16' bakes half precision into that rest, and builds the engine.

    'vmdepth-calibrate scale [MODEL]' makes metres of its depth instead, by measured depth.
    """
    from vmdepth_calibrate.calibration import calibrate, summary

    settings = CalibrationSettings(**options)
    result = calibrate(settings, warn=lambda line: click.echo(line, err=True), track=_with_bar)
    _print_costs(result.costs, settings.keep_above)
    size = settings.output.stat().st_size / 1e6
    click.echo(f"{settings.output}: {settings.precision} for {settings.form}, {size:.1f} MB; {summary(result.parity)}")


def _print_costs(costs: list[LayerCost], keep_above: float | None) -> None:
    for cost in sorted(costs, key=lambda cost: -cost.error)[:_SHOWN]:
        kept = " (kept in float32)" if keep_above is not None and cost.error > keep_above else ""
        click.echo(f"  {100 * cost.error:.3f} %  {cost.layer}{kept}")


def _with_bar(items: Iterable[_T], what: str, total: int) -> Iterable[_T]:
    """The items, while a line tells how many have been gone through."""
    from vmdepth_runtime.progress import ProgressLine

    with ProgressLine(what, total, prefix="vmdepth-calibrate: ") as line:
        for done, item in enumerate(items, start=1):
            yield item
            line.update(done)


def main() -> NoReturn:
    """The console script."""
    words = sys.argv[1:]
    chosen = subcommands.get(words[0]) if words else None
    if chosen is not None:
        run_command(chosen, words[1:])
    run_command(command, words)


if __name__ == "__main__":
    main()
