"""`vmdepth-train`: learn a streaming depth network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth.causal import causal_option, flag, form_of
from vmdepth.console import open_console, said_once, say
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from vmdepth.training.settings.train_settings import TrainSettings
    from vmdepth.training.trainer import Progress, Trainer

_LONG = 24 * 3600  # seconds; who is told that it takes days may want something shorter


class _TrainCommand(click.Command):
    """Its help ends with all presets and settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        try:
            from vmdepth.training.settings.help_tables import help_tables
        except ModuleNotFoundError:
            formatter.write_paragraph()
            formatter.write_text("Presets and settings are shown once pip install 'vmdepth[train]' has brought torch.")
            return
        for title, rows in help_tables():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=26)


@click.command("vmdepth-train", cls=_TrainCommand)
@click.argument("start", metavar="[PRESET|FILE|RUN]", default="")
@click.argument("overrides", metavar="[key=value ...]", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run.")
@causal_option("of the network", "as the preset has it, or temporal=")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder RUN, or --out, where it was saved.")
def command(start: str, overrides: tuple[str, ...], out: Path | None, causal: bool | None, resume: bool) -> int:
    """Train a network on clips that are rendered while it learns, and on videos.

    FILE holds settings: YAML, or the settings.json of a run. After the first steps it says how long all of them will
    take here. Ctrl-C saves and stops; 'vmdepth-train --resume RUN' goes on with the run's own settings, of which only
    steps= may grow. For several processes: torchrun --nproc-per-node N -m vmdepth.train ... 'vmdepth-precompute --help'
    says how to ask a teacher for the depth of videos beforehand.
    """
    from vmdepth.training.trainer import train

    console = open_console()
    with said_once() as end_said_once, ExitStack() as shown:
        settings, folder = _settings_and_folder(start, overrides, out, resume, causal, partial(say, console))
        display = _Display(console, settings, shown)

        def begun(trainer: Trainer) -> None:
            end_said_once()
            display.begin(trainer)

        finished = train(
            settings,
            folder,
            resume=resume,
            begun=begun,
            report=display.show,
            stepped=display.count_step,
            validating=display.look,
        )
    display.end(folder)
    if not finished:
        say(console, f"stopped; go on with: vmdepth-train --resume {folder}")
        return 130
    return 0


def _settings_and_folder(
    start: str,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    causal: bool | None,
    warn: Callable[[str], None],
) -> tuple[TrainSettings, Path]:
    """What to train, and where. Raises InputError for what cannot be."""
    from vmdepth.training.run_folder import settings_before
    from vmdepth.training.settings.parsing import given_values, in_form, settings_of
    from vmdepth.training.settings.presets import START_PRESETS

    named = start and start not in START_PRESETS and "=" not in start and not Path(start).is_file()
    if resume and named:
        if out is not None:
            raise InputError(f"--resume {start} --out {out}: are two runs; name one")
        out, start = Path(start), ""
    if out is None:
        what = "--resume: name the folder of the run, as in 'vmdepth-train --resume runs/tiny'"
        raise InputError(what if resume else "--out: name a folder for the run, for example --out runs/tiny")
    values = given_values(start, overrides)
    if resume:
        values = settings_before(out) | values
    if causal is None:
        return settings_of(values), out
    for form in (word.removeprefix("temporal=") for word in (start, *overrides) if word.startswith("temporal=")):
        if form != form_of(causal):
            raise InputError(f"{flag(causal)} and temporal={form}: are two forms; give one of them")
    return settings_of(in_form(values, causal, warn)), out


class _Display:
    """What is seen of a run: one line on a terminal, a line now and then elsewhere. shown: takes the line away."""

    def __init__(self, console: Console, settings: TrainSettings, shown: ExitStack) -> None:
        self._console, self._settings, self._shown = console, settings, shown
        self._step = 0
        self._figures: tuple[str, ...] = ()
        self._looking = False

    def begin(self, trainer: Trainer) -> None:
        """Say what is trained and which videos are left out, and start the line where the run stands."""
        from vmdepth.training.setup import doubt_of_compiling
        from vmdepth.training.watch.forecast import FirstSteps
        from vmdepth_runtime.progress import ProgressLine

        self._trainer, self._step, settings = trainer, trainer.step, self._settings
        for source in trainer.sources:
            if source.skipped:
                shorter = f"shorter than {settings.clip_length} frames"
                say(self._console, f"{source.name}: {source.skipped} videos {shorter} skipped")
        if trainer.remark:
            say(self._console, trainer.remark)
        if doubt := doubt_of_compiling(settings, trainer.processes.device):
            say(self._console, doubt)
        partly = any(parameter.requires_grad for parameter in trainer.model.encoder.parameters())
        but = " but for its blocks over views" if partly else ""
        if trainer.settings.freeze_encoder and settings.freeze_encoder is None:
            say(self._console, f"the encoder stays as {settings.init} has it{but}; freeze_encoder=false lets it learn")
        millions = sum(parameter.numel() for parameter in trainer.model.parameters()) / 1e6
        size = "x".join(map(str, settings.height_width))
        frozen = f", encoder frozen{but}" if trainer.settings.freeze_encoder else ""
        scan = f", {trainer.scan}" if trainer.scan else ""
        heading = (
            f"{settings.preset}, {millions:.1f} M parameters{frozen}, on {trainer.processes.device}{scan}: steps of "
            f"{settings.batch} clips of {settings.clip_length} frames, {size}"
        )
        self._first = FirstSteps(trainer.processes.device)
        self._line = ProgressLine("training", heading=heading, console=self._console)
        self._line.stage("training", settings.steps, "steps", done=self._step)
        self._shown.callback(self._line.stop)
        self._begun = self._line.drawn
        if self._begun:
            self._line.start()

    def count_step(self, step: int, seconds: float) -> None:
        """Move on by a step; once the first ones are done, say what all will take."""
        self._step = step
        self._start()
        if self._looking:
            self._looking = False
            self._line.stage("training", self._settings.steps, "steps", done=step)
        forecast = self._first.add(seconds, self._settings.steps - step)
        if forecast:
            self._line.say(str(forecast))
            if forecast.seconds > _LONG:
                self._line.say("Ctrl-C saves and stops; for a first look: vmdepth-train quick --out runs/quick")
        self._line.update(step, self._shown_figures)

    def look(self) -> None:
        """Say that the model is looked at, which may take as long as many steps."""
        self._start()
        self._looking = True
        self._line.stage("validating, on clips that it does not learn from")

    def _start(self) -> None:
        if not self._begun:  # a log tells nothing of a run that ends before: its error stands alone
            self._begun = True
            self._line.start()

    def _shown_figures(self) -> tuple[str, ...]:
        from vmdepth.training.watch.forecast import speed

        rate = self._line.rate
        return (*((speed(rate),) if rate > 0 else ()), *self._figures)

    def show(self, progress: Progress) -> None:
        """Take in losses, and how right the model is."""
        held_out = progress.held_out
        right = (f"δ1 {held_out.delta1:.1%}",) if held_out else ()
        losses = (f"{name} {value:.3f}" for name, value in progress.losses.items() if value)
        self._figures = (*right, *losses)

    def end(self, folder: Path) -> None:
        """Say where the run stands, and what there is of it."""
        say(self._console, f"{folder / 'last.safetensors'}: step {self._step} of {self._settings.steps}")
        best = self._trainer.best
        if best:
            figures = f"δ1 {best.delta1:.1%}, AbsRel {best.absrel:.3f} on rendered clips that it has not learnt from"
            say(self._console, f"{folder / 'best.safetensors'}: {figures}")
        if self._step == self._settings.steps:
            say(self._console, f"to train on: vmdepth-train --resume {folder} steps={2 * self._step}")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
