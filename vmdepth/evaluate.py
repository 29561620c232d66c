"""`vmdepth-eval`: how right and how steady a model's depth is, on rendered clips it never saw and on measured depth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth_runtime.atomic_files import check_target, write_report
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vmdepth.data.rgbd import RgbdFrame
    from vmdepth.evaluation.figures import Evaluation
    from vmdepth.evaluation.recording import Model

OFFICIAL_PICTURE = (480, 640)  # height and width, as of the indoor benchmarks that depth networks are compared on


@click.command("vmdepth-eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", metavar="rendered[:CLIPS[xFRAMES]]|FOLDER|SCENES")
@click.option("--against", type=click.Path(path_type=Path), help="Evaluate this model as well, beside MODEL.")
@click.option("--report", type=click.Path(path_type=Path), help="Also write the figures as JSON, every frame's too.")
@click.option("--plots", type=click.Path(path_type=Path), metavar="DIR", help="Also draw them over time, as PNG.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also draw a picture of every sequence (.png).")
@click.option("--video", type=click.Path(path_type=Path),
              help="Also show the first sequence (.mp4): colour, truth, MODEL; or colour, MODEL, AGAINST.")  # fmt: skip
@click.option("--official", is_flag=True, help="Prepare pictures as Depth Anything does: shorter side to 518, cubic.")
def evaluate(
    model: Path,
    data: str,
    against: Path | None,
    report: Path | None,
    plots: Path | None,
    sheet: Path | None,
    video: Path | None,
    official: bool,
) -> None:
    """Accuracy, consistency over time and growth of the states of MODEL (.safetensors, .pth or .onnx), streamed frame
    by frame.

    DATA: held-out rendered clips (64 of 16 frames), or a FOLDER of rgb/, depth/ (16 bit), intrinsics.json and, where
    there are some, poses.txt; or SCENES, a folder of such folders. Scale and shift are fitted in inverse depth, once
    per clip or folder, and, beside that, for every frame alone.
    """
    _check_outputs(report, plots, sheet, video)

    from rich.console import Console

    from vmdepth.evaluation.figures import evaluate_sequences
    from vmdepth.evaluation.sequences import HeldOut, Scenes, describe, open_data
    from vmdepth.evaluation.sheet import Sheet
    from vmdepth.evaluation.table import print_evaluation, print_scenes
    from vmdepth.official.preparation import network_size

    source = open_data(data)
    folder = source.folders[0] if isinstance(source, Scenes) else source
    if official and isinstance(source, Scenes) and len({one[0].image.shape for one in source.folders}) > 1:
        raise InputError(f"{data}: has pictures of several sizes, official preparation one for each; give one folder")
    picture = OFFICIAL_PICTURE if isinstance(folder, HeldOut) else folder[0].image.shape[:2]
    paths = [model] if against is None else [model, against]
    models, size = open_models(paths, network_size(*picture) if official else None)
    rendered_size = OFFICIAL_PICTURE if official else size
    sequences: Sequence[Iterable[RgbdFrame]]
    if isinstance(source, Scenes):
        sequences, titles, groups = source.folders, source.names, source.groups
    else:
        sequences = source.sequences(*rendered_size) if isinstance(source, HeldOut) else [source]
        titles, groups = tuple(f"sequence {number}" for number in range(len(sequences))), ()
    drawn = Sheet(sequences, titles) if sheet else None
    evaluation = evaluate_sequences(models, sequences, "cubic" if official else "area", titles, groups, drawn)

    if report:
        write_report(_facts(evaluation, paths, data, official), report)
    names = ["model", "against"][: len(paths)]
    if plots:
        from vmdepth.evaluation.plots import write_plots

        write_plots(evaluation, names, plots)
    if drawn and sheet:
        drawn.write(sheet)
    if video:
        from vmdepth.evaluation.video import write_video

        write_video(evaluation, sequences[0], video)
    for name, path in zip(names, paths, strict=True):
        click.echo(f"{name}: {path}")
    console = Console()
    means = "means over groups, " if isinstance(source, Scenes) else ""
    click.echo(f"on {describe(source)}, {means}one fit per sequence:")
    print_evaluation(evaluation, names, console)
    if isinstance(source, Scenes):
        print_scenes(evaluation, names, source, console)


def open_models(paths: list[Path], size: tuple[int, int] | None) -> tuple[list[Model], tuple[int, int]]:
    """Models in the order of the paths, and height and width of the first. size: that all must have; None leaves it to
    them.

    A checkpoint has no size of its own: it takes `size`, or that of a step graph it is compared with where its stride
    allows, or its usual one. Raises
    InputError, naming the file, for a model that cannot be opened, takes several streams, or is of another size.
    """
    opened: dict[int, tuple[Model, tuple[int, int]]] = {}
    common = size
    # Step graphs first: they say the size.
    for number, path in sorted(enumerate(paths), key=lambda one: one[1].suffix != ".onnx"):
        model, has = _open_model(path, common)
        if size is not None and has != size:
            raise InputError(
                f"{path}: made for {has[0]}x{has[1]}, official preparation gives {size[0]}x{size[1]}; export it again "
                f"with --size {size[0]}x{size[1]}"
            )
        common = common or has
        opened[number] = model, has
    return [opened[number][0] for number in range(len(paths))], opened[0][1]


def _open_model(path: Path, size: tuple[int, int] | None) -> tuple[Model, tuple[int, int]]:
    """A model, and its height and width: `size` where it has none of its own."""
    from vmdepth.checkpoint import load_video
    from vmdepth.evaluation.whole_clip import ClipNetwork
    from vmdepth.session import TorchSession, open_session

    if path.suffix in (".safetensors", ".pth", ".pt"):
        network = load_video(path)
        stride = network.config.stride
        if size is None or size[0] % stride or size[1] % stride:
            size = network.config.usual_size
        return TorchSession(network, *size) if network.can_step else ClipNetwork(network, *size), size
    session = open_session(path)
    contract = session.contract
    if contract.streams != 1:
        raise InputError(f"{path}: takes {contract.streams} streams at once; export it again with --streams 1")
    return session, (contract.height, contract.width)


def _check_outputs(report: Path | None, plots: Path | None, sheet: Path | None, video: Path | None) -> None:
    if report:
        check_target(report)
    if plots:
        from vmdepth.evaluation.plots import check_plots

        check_plots(plots)
    if sheet:
        from vmdepth.evaluation.sheet import check_sheet

        check_sheet(sheet)
    if video:
        from vmdepth.evaluation.video import check_video

        check_video(video)


def _facts(evaluation: Evaluation, paths: list[Path], data: str, official: bool) -> dict[str, object]:
    from dataclasses import asdict

    from vmdepth.evaluation.accuracy import FARTHEST
    from vmdepth.evaluation.figures import BUCKET

    return {
        "data": data,
        "official": official,
        "frames": evaluation.frames,
        "farthest_m": FARTHEST,
        "bucket_frames": BUCKET,
        "models": [
            {"model": str(path)} | model.to_dict() for path, model in zip(paths, evaluation.models, strict=True)
        ],
        "groups": evaluation.groups,
        "mean_map": asdict(evaluation.mean_map) if evaluation.mean_map else None,
        "parabola": asdict(evaluation.parabola),
        "parabolas": [asdict(one) for one in evaluation.parabolas],
    }


def main() -> NoReturn:
    run_command(evaluate)


if __name__ == "__main__":
    main()
