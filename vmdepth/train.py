"""`vmdepth-train`: learn a streaming depth network."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth.console import open_console, progress_bar, said_once, say
from vmdepth_runtime.cli import run_command

if TYPE_CHECKING:
    from rich.console import Console

    from vmdepth.training.settings import TrainSettings
    from vmdepth.training.trainer import Progress, Trainer


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
    from vmdepth.training.trainer import train

    console = open_console()
    with said_once() as end_said_once, ExitStack() as shown:
        settings = parse_settings(start, overrides)
        display = _Display(console, settings, shown)

        def begun(trainer: Trainer) -> None:
            end_said_once()
            display.begin(trainer)

        finished = train(settings, out, resume=resume, begun=begun, report=display.show)
    say(console, f"{out / 'last.safetensors'}: step {display.step} of {settings.steps}")
    if not finished:
        say(console, "stopped; go on with the same command and --resume")
        return 130
    return 0


class _Display:
    """What is seen of a run: a bar on a terminal, a line every hundred steps elsewhere. shown: closes the bar."""

    def __init__(self, console: Console, settings: TrainSettings, shown: ExitStack) -> None:
        self._console, self._settings, self._shown = console, settings, shown
        self.step = 0  # of the last report

    def begin(self, trainer: Trainer) -> None:
        """Say which videos are left out, and start the bar where the run stands."""
        self.step = trainer.step
        for source in trainer.sources:
            if source.skipped:
                shorter = f"shorter than {self._settings.clip_length} frames"
                say(self._console, f"{source.name}: {source.skipped} videos {shorter} skipped")
        self._advance = self._shown.enter_context(progress_bar(self._console, self._settings.steps, trainer.step))

    def show(self, progress: Progress) -> None:
        """Losses, speed and the time that is left."""
        self.step, settings = progress.step, self._settings
        terms = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items() if value)
        text = f"{terms}  {progress.frames_per_second:.1f} frames/s"
        self._advance(progress.step, text)
        if not self._console.is_terminal and progress.step % 100 == 0:
            left = (settings.steps - progress.step) * settings.batch * settings.clip_length
            minutes = left / progress.frames_per_second / 60
            say(self._console, f"step {progress.step}/{settings.steps}  {text}  {minutes:.0f} min left")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
