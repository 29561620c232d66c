"""`vmdepth-precompute`: ask a teacher for the depth of videos, once for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.console import open_console, say
from vmdepth.training.precompute_settings import PrecomputeSettings
from vmdepth_runtime.cli import defaults_of, run_command


@click.command("vmdepth-precompute", context_settings=defaults_of(PrecomputeSettings))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint that gives the depth, or its name on Hugging Face.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the depth.")
@click.option("--side", type=click.IntRange(16), show_default=True, help="Shorter side it sees, pixels.")  # fmt: skip
@click.option("--device", show_default=True)
def command(**options: Any) -> None:
    """Write a teacher's depth of all videos in DATA; train with data=DATA teacher=OUT.

    What is there already stays, so a stopped run goes on by the same command. For several processes, every one of which
    does its part: torchrun --nproc-per-node N -m vmdepth.precompute ...
    """
    from vmdepth.training.precompute import precompute
    from vmdepth_runtime.progress import ProgressLine

    settings = PrecomputeSettings(**options)
    console = open_console()
    with ProgressLine("asking the teacher", unit="spans", console=console) as line:
        done = precompute(settings, lambda spans, total, videos: line.update(spans, (f"{videos} videos",), total))
    for reason in done.left_out:
        say(console, f"left out: {reason}")
    out = settings.out
    say(console, f"{out}: depth of {done.videos} videos; train with data={settings.data} teacher={out}")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
