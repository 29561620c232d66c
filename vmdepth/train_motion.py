"""`vmdepth-train-motion`: give a network a head that tells what moves by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.training.motion.settings import MotionTrainSettings
from vmdepth_runtime.cli import defaults_of, run_command


@click.command("vmdepth-train-motion", context_settings=defaults_of(MotionTrainSettings))
@click.argument("network", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Checkpoint to write.")
@click.option(
    "--clips", type=int, show_default=True, help="Rendered ones to learn from; what is seen of them stays in memory."
)
@click.option("--clip-length", type=int, show_default=True, help="Frames of each.")
@click.option("--size", metavar="HxW", help="Of the clips, pixels; without it the network's usual one.")
@click.option("--textures", type=click.Path(path_type=Path), help="Folder of photographs for surfaces of their worlds.")
@click.option("--tap", show_default=True, help="Map of the decoder that the head sees.")
@click.option("--width", type=int, show_default=True, help="Channels between its two convolutions.")
@click.option("--gap", type=int, show_default=True, help="Frames back to the one that the motion is told against.")
@click.option("--steps", type=int, show_default=True, help="Updates of its weights.")
@click.option("--batch", type=int, show_default=True, help="Clips in a step.")
@click.option("--frames", type=int, show_default=True, help="Frames of each of them that count.")
@click.option("--learning-rate", type=float, show_default=True)
@click.option("--weight-decay", type=float, show_default=True)
@click.option("--seed", type=int, show_default=True, help="Of weights and clips.")
def command(**options: Any) -> None:
    """Learn the output `dynamic` for NETWORK, a checkpoint of vmdepth-train, from the exact motion of rendered clips.

    All else in the network stays as it is, and so does its depth.
    """
    from vmdepth.training.motion.fit import train_motion
    from vmdepth_runtime.progress import ProgressLine

    settings = MotionTrainSettings(**options)
    with ProgressLine("loading", prefix="vmdepth-train-motion: ") as progress:
        train_motion(settings, progress)
    click.echo(f"{settings.out}: {settings.network} with the output dynamic; vmdepth-eval {settings.out} rendered")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
