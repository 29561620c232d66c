"""`vmdepth-train`: learn a streaming depth network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth.console import open_console, progress_bar, said_once, say
from vmdepth_runtime.cli import run_command

if TYPE_CHECKING:
    from vmdepth.training.trainer import Progress


@click.command("vmdepth-train")
@click.argument("start", metavar="[PRESET|config.yaml]", default="")
@click.argument("overrides", metavar="[key=value ...]", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder, exactly where it was saved.")
def command(start: str, overrides: tuple[str, ...], out: Path, resume: bool) -> int:
    """Train a network on clips that are rendered while it learns, and on videos.

    Settings (key=value) and their defaults are those of vmdepth/training/settings.py. Ctrl-C saves and stops. For
    several processes: torchrun --nproc-per-node N -m vmdepth.train ... `vmdepth-precompute --help` says how to ask a
    teacher for the depth of videos beforehand.
    """
    from vmdepth.training.settings import parse_settings
    from vmdepth.training.trainer import Trainer

    with said_once():
        settings = parse_settings(start, overrides)
        trainer = Trainer(settings, out, resume)
    console = open_console()
    for source in trainer.sources:
        if source.skipped:
            say(console, f"{source.name}: {source.skipped} videos shorter than {settings.clip_length} frames skipped")
    with progress_bar(console, settings.steps, trainer.step) as advance:

        def show(progress: Progress) -> None:
            terms = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items() if value)
            text = f"{terms}  {progress.frames_per_second:.1f} frames/s"
            advance(progress.step, text)
            if not console.is_terminal and progress.step % 100 == 0:
                left = (settings.steps - progress.step) * settings.batch * settings.clip_length
                minutes = left / progress.frames_per_second / 60
                say(console, f"step {progress.step}/{settings.steps}  {text}  {minutes:.0f} min left")

        finished = trainer.run(show)
    trainer.processes.close()
    say(console, f"{out / 'last.safetensors'}: step {trainer.step} of {settings.steps}")
    if not finished:
        say(console, "stopped; go on with the same command and --resume")
        return 130
    return 0


def main() -> NoReturn:
    run_command(command)


if __name__ == "__main__":
    main()
