"""`vmdepth-train`: learn a streaming depth network on rendered clips."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from vmdepth_runtime.cli import run_command


@click.command("vmdepth-train")
@click.argument("start", metavar="[PRESET|config.yaml]", default="tiny")
@click.argument("overrides", metavar="[key=value ...]", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder, exactly where it was saved.")
def train(start: str, overrides: tuple[str, ...], out: Path, resume: bool) -> int:
    """Train a network on clips that are rendered while it learns.

    Settings (key=value) and their defaults are those of vmdepth/training/settings.py. Ctrl-C saves and stops.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from vmdepth.training.settings import parse_settings
    from vmdepth.training.trainer import Progress as StepProgress
    from vmdepth.training.trainer import Trainer

    if "=" in start:
        start, overrides = "tiny", (start, *overrides)
    settings = parse_settings(start, overrides)
    trainer = Trainer(settings, out, resume)
    console = Console(stderr=True)
    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=settings.steps, completed=trainer.step)

        def show(progress: StepProgress) -> None:
            text = (
                f"depth loss {progress.depth_loss:.3f}  temporal loss {progress.temporal_loss:.4f}  "
                f"{progress.frames_per_second:.1f} frames/s"
            )
            bar.update(task, completed=progress.step, description=text)
            if not console.is_terminal and progress.step % 100 == 0:
                left = (settings.steps - progress.step) * settings.batch * settings.clip_length
                minutes = left / progress.frames_per_second / 60
                console.print(
                    f"step {progress.step}/{settings.steps}  {text}  {minutes:.0f} min left",
                    highlight=False,
                    soft_wrap=True,
                )

        finished = trainer.run(show)
    console.print(
        f"{out / 'last.safetensors'}: step {trainer.step} of {settings.steps}", highlight=False, soft_wrap=True
    )
    if not finished:
        console.print("stopped; go on with the same command and --resume", highlight=False, soft_wrap=True)
        return 130
    return 0


def main() -> NoReturn:
    run_command(train)


if __name__ == "__main__":
    main()
