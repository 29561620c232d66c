"""From settings to figures: opens models and data, evaluates, and writes what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

from vmdepth.causal import check_asked, load_asked
from vmdepth.checkpoint import load, stepping
from vmdepth.data.rgbd import RgbdFrame
from vmdepth.evaluation.accuracy import FARTHEST
from vmdepth.evaluation.drawing.plots import check_plots, write_plots
from vmdepth.evaluation.drawing.sheet import Sheet, check_sheet
from vmdepth.evaluation.drawing.video import check_video, write_video
from vmdepth.evaluation.figures import BUCKET, Evaluation, evaluate_sequences
from vmdepth.evaluation.recording import Model, Streamed
from vmdepth.evaluation.sequences import Data, HeldOut, Scenes, Taught, open_data
from vmdepth.evaluation.settings import EvalSettings
from vmdepth.evaluation.truth import MEASURED
from vmdepth.evaluation.whole_clip import ClipNetwork
from vmdepth.model_files import CHECKPOINT_ENDINGS
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.hub import local_file
from vmdepth.official.preparation import network_size
from vmdepth.session import TorchSession, open_session
from vmdepth_runtime.atomic_files import check_report, write_report
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.progress import ProgressLine
from vmdepth_runtime.sessions.load import check_device

OFFICIAL_PICTURE = (480, 640)  # height and width, as of the indoor benchmarks that depth networks are compared on


@dataclass(frozen=True)
class Evaluated:
    """data: what the models were evaluated on."""

    data: Data
    evaluation: Evaluation


def evaluate(
    settings: EvalSettings,
    *,
    warn: Callable[[str], None] = lambda line: None,
    progress: ProgressLine | None = None,
) -> Evaluated:
    """Stream the data through the models, frame by frame, work out the figures and write what was asked for.

    Args:
        settings: what `vmdepth-eval` takes.
        warn: gets a line where a setting changes nothing.
        progress: shows how many frames all models have seen, once they are opened.

    Returns:
        The data and all figures, the models in the order of `settings.models`.

    Raises:
        InputError: for models, data or outputs that cannot be, before any work.
        WorkError: where an output cannot be written.
    """
    _check_outputs(settings)
    data = open_data(settings.data, settings.teacher)
    models, size = _open(settings, data, warn)
    sequences, titles, groups = _sequences(data, OFFICIAL_PICTURE if settings.official else size)
    sheet = Sheet(sequences, titles) if settings.sheet else None
    resize: Resize = "cubic" if settings.official else "area"
    truth = data.truth if isinstance(data, Taught) else MEASURED
    numbers = count(1)
    if progress is not None:
        progress.stage(f"evaluates on {settings.data}", unit="frames")

    def moved() -> None:
        if progress is not None:
            progress.update(next(numbers))

    evaluation = evaluate_sequences(models, sequences, resize, titles, groups, sheet, truth, moved)
    if settings.report:
        write_report(_facts(evaluation, settings), settings.report)
    if settings.plots:
        write_plots(evaluation, list(settings.models), settings.plots)
    if sheet and settings.sheet:
        sheet.write(settings.sheet)
    if settings.video:
        write_video(evaluation, sequences[0], settings.video)
    return Evaluated(data, evaluation)


def open_models(
    paths: Sequence[Path],
    size: tuple[int, int] | None,
    causal: bool | None = None,
    warn: Callable[[str], None] = lambda line: None,
    device: str | None = None,
) -> tuple[list[Model], tuple[int, int]]:
    """Models in the order of the paths, and height and width of the first.

    Args:
        paths: checkpoints or step graphs.
        size: height and width that all must have, pixels; None leaves it to them. A checkpoint has no size of its own:
            it takes this, or that of a step graph it is compared with where its stride allows, or its usual one.
        causal: form of attention over time of checkpoints; None is their own.
        warn: gets a line where that changes nothing.
        device: that step graphs and engines run on.

    Raises:
        InputError: naming the file, for a model that cannot be opened, takes several streams, or is of another size.
    """
    paths = [local_file(path) for path in paths]
    check_device(device, paths)
    opened: dict[int, tuple[Model, tuple[int, int]]] = {}
    common = size
    # Step graphs first: they say the size.
    for number, path in sorted(enumerate(paths), key=lambda one: one[1].suffix != ".onnx"):
        model, has = _open_model(path, common, causal, warn, device)
        if size is not None and has != size:
            raise InputError(
                f"{path}: made for {has[0]}x{has[1]}, official preparation gives {size[0]}x{size[1]}; export it again "
                f"with --size {size[0]}x{size[1]}"
            )
        common = common or has
        opened[number] = model, has
    return [opened[number][0] for number in range(len(paths))], opened[0][1]


def _open_model(
    path: Path,
    size: tuple[int, int] | None,
    causal: bool | None,
    warn: Callable[[str], None],
    device: str | None,
) -> tuple[Model, tuple[int, int]]:
    """A model, and its height and width: `size` where it has none of its own."""
    if path.suffix in CHECKPOINT_ENDINGS:
        network = load_asked(load, path, causal, warn)
        if size is None or size[0] % network.stride or size[1] % network.stride:
            size = network.usual_size
        if isinstance(network, ViewNetwork) and not isinstance(network, MonoDepth):
            return ClipNetwork(network, *size), size
        if isinstance(network, VideoDepth) and not network.can_step:
            return ClipNetwork(network, *size), size
        model = stepping(network)
        assert model is not None
        return Streamed(TorchSession(model, *size)), size
    session = open_session(path, device=device)
    contract = session.contract
    if contract.streams != 1:
        raise InputError(f"{path}: takes {contract.streams} streams at once; export it again with --streams 1")
    return Streamed(session), (contract.height, contract.width)


def _open(settings: EvalSettings, data: Data, warn: Callable[[str], None]) -> tuple[list[Model], tuple[int, int]]:
    """The models, and height and width of the first."""
    paths = list(settings.models.values())
    check_asked(settings.causal, paths)
    if not settings.official:
        return open_models(paths, None, settings.causal, warn, settings.device)
    if isinstance(data, HeldOut):
        return open_models(paths, network_size(*OFFICIAL_PICTURE), settings.causal, warn, settings.device)
    if isinstance(data, Taught):
        shapes = {video.size for video in data.videos}
    else:
        shapes = {folder[0].image.shape[:2] for folder in (data.folders if isinstance(data, Scenes) else (data,))}
    if len(shapes) > 1:
        raise InputError(
            f"{settings.data}: has pictures of several sizes, official preparation one for each; give one folder"
        )
    return open_models(paths, network_size(*shapes.pop()), settings.causal, warn, settings.device)


def _sequences(
    data: Data, size: tuple[int, int]
) -> tuple[Sequence[Iterable[RgbdFrame]], tuple[str, ...], tuple[str, ...]]:
    """The sequences, their titles, and their groups where they are in some. size: of rendered clips, pixels."""
    if isinstance(data, Scenes):
        return data.folders, data.names, data.groups
    if isinstance(data, Taught):
        return data.videos, tuple(video.name for video in data.videos), ()
    sequences: Sequence[Iterable[RgbdFrame]] = data.sequences(*size) if isinstance(data, HeldOut) else [data]
    return sequences, tuple(f"sequence {number}" for number in range(len(sequences))), ()


def _check_outputs(settings: EvalSettings) -> None:
    read = (*settings.models.values(), settings.teacher, Path(settings.data))
    check_report(settings.report, *read, settings.plots, settings.sheet, settings.video)
    if settings.plots:
        check_plots(settings.plots)
    if settings.sheet:
        check_sheet(settings.sheet)
    if settings.video:
        check_video(settings.video)


def _facts(evaluation: Evaluation, settings: EvalSettings) -> dict[str, object]:
    """The report."""
    models = zip(settings.models.values(), evaluation.models, strict=True)
    return {
        "data": settings.data,
        "truth": evaluation.truth.to_dict(),
        "official": settings.official,
        "causal": settings.causal,
        "frames": evaluation.frames,
        "farthest_m": FARTHEST,
        "bucket_frames": BUCKET,
        "models": [{"model": str(path)} | model.to_dict() for path, model in models],
        "groups": evaluation.groups,
        "mean_map": asdict(evaluation.mean_map) if evaluation.mean_map else None,
        "parabola": asdict(evaluation.parabola),
        "parabolas": [asdict(one) for one in evaluation.parabolas],
    }
