"""`vmdepth-eval`: how right and how steady a model's depth is, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.causal import causal_option
from vmdepth.evaluation.settings import CLIPS, FRAMES, EvalSettings
from vmdepth_runtime.cli import defaults_of, device_option, run_command

_HELP = f"""Accuracy, consistency over time and growth of the states of MODEL (.safetensors, .pth or .onnx, or a name
on Hugging Face), streamed frame by frame.

DATA: held-out rendered clips ({CLIPS} of {FRAMES} frames), or a FOLDER of rgb/, depth/ (16 bit), intrinsics.json and,
where there are some, poses.txt; or SCENES, a folder of such folders; or, with --teacher, FOOTAGE, a video, a folder of
pictures or a folder of such. What a model's depth leaves open (scale and shift, scale, or nothing of metres) is fitted
in inverse depth, once per clip or folder; beside that scale and shift for every frame alone.
"""


@click.command("vmdepth-eval", help=_HELP, context_settings=defaults_of(EvalSettings))
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", metavar="rendered[:CLIPS[xFRAMES]]|FOLDER|SCENES|FOOTAGE")
@click.option("--against", type=click.Path(path_type=Path), help="Evaluate this model as well, beside MODEL.")
@click.option("--teacher", type=click.Path(path_type=Path), metavar="CHECKPOINT",
              help="Take its depth, of the whole video at once, for the truth of plain footage; a file, or a name on "
              "Hugging Face.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), help="Also write the figures as JSON, every frame's too.")
@click.option("--plots", type=click.Path(path_type=Path), metavar="DIR", help="Also draw them over time, as PNG.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also draw a picture of every sequence (.png).")
@click.option("--video", type=click.Path(path_type=Path),
              help="Also show the first sequence (.mp4): colour, truth, MODEL; or colour, MODEL, AGAINST.")  # fmt: skip
@click.option(
    "--official",
    is_flag=True,
    help="Prepare pictures as Depth Anything V2 does, of Depth Anything 3, too: shorter side to 518, cubic.",
)
@causal_option("of checkpoints", "as trained; of official files, streaming")
@device_option("step graphs and engines run on", "cuda where there is one")
def command(**options: Any) -> None:
    from rich.console import Console

    from vmdepth.evaluation.drawing.table import print_evaluation, print_scenes
    from vmdepth.evaluation.evaluator import evaluate
    from vmdepth.evaluation.sequences import Scenes, describe
    from vmdepth_runtime.progress import ProgressLine

    settings = EvalSettings(**options)
    with ProgressLine("opens the models", prefix="vmdepth-eval: ") as progress:
        done = evaluate(settings, warn=lambda line: click.echo(line, err=True), progress=progress)
    names, console = list(settings.models), Console()
    for name, path in settings.models.items():
        click.echo(f"{name}: {path}")
    truth = done.evaluation.truth
    if truth.teacher:
        click.echo(f"teacher: {truth.teacher}, {truth.kind.meaning}: what follows is agreement with it, not accuracy")
    if truth.unit == "u":
        click.echo("u: the median of the teacher's depth in a video")
    means = "means over groups, " if isinstance(done.data, Scenes) else ""
    click.echo(f"on {describe(done.data)}, {means}one fit per sequence:")
    print_evaluation(done.evaluation, names, console)
    if isinstance(done.data, Scenes):
        print_scenes(done.evaluation, names, done.data, console)


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
