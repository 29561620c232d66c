"""`vmdepth-train`: learn a streaming depth network; and `vmdepth-train precompute`: ask a teacher once for all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from vmdepth.training.trainer import Progress as StepProgress


@click.command("vmdepth-train")
@click.argument("start", metavar="[PRESET|config.yaml]", default="tiny")
@click.argument("overrides", metavar="[key=value ...]", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder, exactly where it was saved.")
def train(start: str, overrides: tuple[str, ...], out: Path, resume: bool) -> int:
    """Train a network on clips that are rendered while it learns, and on videos.

    Settings (key=value) and their defaults are those of vmdepth/training/settings.py. Ctrl-C saves and stops. For
    several processes: torchrun --nproc-per-node N -m vmdepth.train ... `vmdepth-train precompute --help` says how to
    ask a teacher for the depth of videos beforehand.
    """
    from rich.console import Console

    from vmdepth.training.settings import parse_settings
    from vmdepth.training.trainer import Trainer

    if "=" in start:
        start, overrides = "tiny", (start, *overrides)
    with _said_once():
        settings = parse_settings(start, overrides)
        trainer = Trainer(settings, out, resume)
    console = Console(stderr=True, quiet=not trainer.processes.first)
    for source in trainer.sources:
        if source.skipped:
            _say(console, f"{source.name}: {source.skipped} videos shorter than {settings.clip_length} frames skipped")
    with _bar(console, settings.steps, trainer.step) as advance:

        def show(progress: StepProgress) -> None:
            terms = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items() if value)
            text = f"{terms}  {progress.frames_per_second:.1f} frames/s"
            advance(progress.step, text)
            if not console.is_terminal and progress.step % 100 == 0:
                left = (settings.steps - progress.step) * settings.batch * settings.clip_length
                minutes = left / progress.frames_per_second / 60
                _say(console, f"step {progress.step}/{settings.steps}  {text}  {minutes:.0f} min left")

        finished = trainer.run(show)
    trainer.processes.close()
    _say(console, f"{out / 'last.safetensors'}: step {trainer.step} of {settings.steps}")
    if not finished:
        _say(console, "stopped; go on with the same command and --resume")
        return 130
    return 0


@click.command("vmdepth-train precompute")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="Checkpoint that gives the depth.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the depth.")
@click.option("--side", type=click.IntRange(16), default=280, show_default=True, help="Shorter side it sees, pixels.")
@click.option("--device", default="auto", show_default=True)
def precompute(data: Path, teacher: Path, out: Path, side: int, device: str) -> int:
    """Write a teacher's depth of all videos in DATA; train with data=DATA teacher=OUT.

    What is there already stays, so a stopped run goes on by the same command. Under torchrun every process does its
    part.
    """
    from rich.console import Console

    from vmdepth.data.videos import find_videos
    from vmdepth.training.precompute import write_depth
    from vmdepth.training.processes import Processes
    from vmdepth.training.teachers import Teacher

    videos = [video for video in find_videos(data) if not video.labelled]
    if not videos:
        raise InputError(f"{data}: has depth of its own already; train with it as it is")
    processes = Processes(device)
    network = Teacher(teacher, processes.device)
    console = Console(stderr=True, quiet=not processes.first)
    with _bar(console, 1, 0) as advance:

        def show(done: int, total: int) -> None:
            advance(done, f"{len(videos)} videos", total)

        left_out = write_depth(videos, network, out, side, show, processes.rank, processes.count)
    processes.close()
    for reason in left_out:
        _say(console, f"left out: {reason}")
    _say(console, f"{out}: depth of {len(videos)} videos; train with data={data} teacher={out}")
    return 0


@contextmanager
def _said_once() -> Iterator[None]:
    """What is wrong with the settings is wrong in every process of torchrun; the first one says it."""
    try:
        yield
    except InputError:
        if int(os.environ.get("RANK", 0)) > 0:
            sys.exit(2)
        raise


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _bar(console: Console, total: int, done: int) -> Iterator[Callable[..., None]]:
    """A bar on a terminal. Yields what moves it on: (done, text, total where that changes)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, completed=done)

        def advance(done: int, text: str, total: int | None = None) -> None:
            bar.update(task, completed=done, description=text, total=total)

        yield advance


def main() -> NoReturn:
    if sys.argv[1:2] == ["precompute"]:
        del sys.argv[1]
        run_command(precompute)
    run_command(train)


if __name__ == "__main__":
    main()
