"""`vmdepth-eval`: how right a model's depth is, on rendered clips it never saw and on measured depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import check_target, write_report
from vmdepth_runtime.stream import DepthResizer, resize_frame

if TYPE_CHECKING:
    from vmdepth.data.rgbd import RgbdFrame
    from vmdepth.session import Session

FRAMES_PER_CLIP = 16
OFFICIAL_PICTURE = (480, 640)  # height and width, as of the indoor benchmarks that depth networks are compared on


@dataclass(frozen=True)
class Accuracy:
    """Means over clips of figures over a clip's finite depths, after one fit of scale and shift per clip.

    delta1: share of pixels with max(d/d̂, d̂/d) < 1.25, in 0..1. absrel: mean |d − d̂| / d.
    """

    delta1: float
    absrel: float


def fit_affine(inverse: NDArray[np.floating], truth: NDArray[np.floating]) -> tuple[float, float]:
    """The scale a and shift b that minimise Σ (a·inverse + b − truth)² (least squares, as in MiDaS).

    A constant `inverse` gets a = 0 and b = mean of truth.
    """
    x, y = inverse.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    variance = x.var()
    scale = float(((x - x.mean()) * (y - y.mean())).mean() / variance) if variance > 1e-12 else 0.0
    return scale, float(y.mean() - scale * x.mean())


def accuracy(inverse: NDArray[np.floating], depth: NDArray[np.floating]) -> Accuracy:
    """Figures of one clip. inverse: predicted, up to scale and shift. depth: true, metres, inf or ≤ 0 where unknown.

    The fit is in inverse depth; a prediction that lands at or below 0 counts as 1 km. Raises ValueError when no depth
    is known.
    """
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise ValueError("no pixel of known depth")
    true, predicted = depth[known].astype(np.float64), inverse[known]
    scale, shift = fit_affine(predicted, 1 / true)
    guess = 1 / np.maximum(scale * predicted + shift, 1e-3)
    ratio = np.maximum(guess / true, true / guess)
    return Accuracy(float((ratio < 1.25).mean()), float((np.abs(guess - true) / true).mean()))


def mean_map_accuracy(depths: list[NDArray[np.floating]]) -> Accuracy:
    """What a picture-blind guess reaches: one inverse depth per pixel for every frame of every clip.

    depths: per clip [N, H, W]. The map is the per-pixel mean of inverse depth over these very clips, where it is known
    (sky is, as 0). It is tried as it is and with every clip first brought to mean 0 and deviation 1; the better δ1 is
    returned.
    """
    inverses = [np.where(d > 0, 1 / np.where(d > 0, d, 1), np.nan) for d in depths]
    normalised = [(i - np.nanmean(i)) / max(float(np.nanstd(i)), 1e-6) for i in inverses]
    candidates = []
    for maps in (inverses, normalised):
        sums = sum(np.nansum(m, axis=0) for m in maps)
        counts = sum(np.isfinite(m).sum(axis=0) for m in maps)
        mean = sums / np.maximum(counts, 1)
        candidates.append(_mean([accuracy(np.broadcast_to(mean, d.shape), d) for d in depths]))
    return max(candidates, key=lambda a: a.delta1)


def evaluate_sequences(
    session: Session, sequences: Iterable[Iterable[RgbdFrame]], resize: Resize = "area"
) -> tuple[Accuracy, Accuracy]:
    """Means over sequences of the session's accuracy, streamed frame by frame; and the mean map on the same.

    resize: how frames come to the model's size and depth back to theirs, as in `vmdepth-run`. Raises InputError for a
    model of several streams.
    """
    from vmdepth.data.rgbd import at_places

    if session.contract.streams != 1:
        raise InputError(f"the model takes {session.contract.streams} streams at once; export one with --streams 1")
    figures, truths = [], []
    for frames in sequences:
        predicted: list[NDArray[np.float32]] = []
        true: list[NDArray[np.float32]] = []
        for frame, depth in stream_depth(session, frames, resize):
            if session.contract.depth_kind == "metric":
                depth = np.float32(1) / np.maximum(depth, np.float32(1e-3))
            for kept, one in zip((predicted, true), at_places(depth, frame), strict=True):
                kept.append(one)
        truths.append(np.stack(true))
        figures.append(accuracy(np.stack(predicted), truths[-1]))
    return _mean(figures), mean_map_accuracy(truths)


def stream_depth(
    session: Session, frames: Iterable[RgbdFrame], resize: Resize
) -> Iterator[tuple[RgbdFrame, NDArray[np.float32]]]:
    """Every frame with the session's depth float32 [H, W] at the frame's size, from the session's initial states."""
    session.reset()
    bring_back = DepthResizer(resize)
    for frame in frames:
        resize_frame(frame.image, session.frame[0], resize)
        depth = np.empty(frame.image.shape[:2], np.float32)
        bring_back(session.step().depth[0], depth)
        yield frame, depth


def _mean(figures: list[Accuracy]) -> Accuracy:
    return Accuracy(float(np.mean([f.delta1 for f in figures])), float(np.mean([f.absrel for f in figures])))


@click.command("vmdepth-eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", metavar="rendered[:CLIPS]|FOLDER")
@click.option("--official", is_flag=True, help="Prepare pictures as Depth Anything does: shorter side to 518, cubic.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def evaluate(model: Path, data: str, official: bool, report: Path | None) -> None:
    """Accuracy of MODEL (.safetensors, .pth or .onnx), streamed frame by frame.

    DATA: held-out rendered clips, or a FOLDER of rgb/, depth/ (16 bit) and intrinsics.json. Scale and shift are fitted
    once per clip or folder, in inverse depth.
    """
    if report:
        check_target(report)

    from vmdepth.data.rgbd import RgbdFolder, rendered_frames
    from vmdepth.official_images import network_size
    from vmdepth.session import open_session

    kind, _, count = data.partition(":")
    clips = int(count or 64) if kind == "rendered" and (count or "64").isdigit() else 0
    folder = None if kind == "rendered" else RgbdFolder(Path(data))
    if folder is None and clips < 1:
        raise InputError(f"data '{data}': should be 'rendered:CLIPS', for example rendered:64, or a folder")
    if official:
        size = network_size(*(OFFICIAL_PICTURE if folder is None else next(iter(folder)).image.shape[:2]))
        session = open_session(model, size=size)
    else:
        session = open_session(model)
    has = (session.contract.height, session.contract.width)
    if official and has != size:
        raise InputError(
            f"{model}: made for {has[0]}x{has[1]}, official preparation gives {size[0]}x{size[1]}; export it again "
            f"with --size {size[0]}x{size[1]}"
        )
    sequences = (
        [folder]
        if folder is not None
        else (rendered_frames(seed, FRAMES_PER_CLIP, *(OFFICIAL_PICTURE if official else has)) for seed in range(clips))
    )
    own, blind = evaluate_sequences(session, sequences, "cubic" if official else "area")
    if report:
        facts = {"model": str(model), "data": data, "official": official}
        write_report(facts | {"accuracy": asdict(own), "mean_map": asdict(blind)}, report)
    rendered = f"{clips} held-out rendered clips of {FRAMES_PER_CLIP} frames, one fit per clip"
    click.echo(f"{model} on {rendered if folder is None else f'{len(folder)} frames of {data}, one fit'}:")
    click.echo(f"  δ1 {100 * own.delta1:.1f} %, AbsRel {own.absrel:.3f}")
    click.echo(f"  best per-pixel mean map: δ1 {100 * blind.delta1:.1f} %, AbsRel {blind.absrel:.3f}")


def main() -> NoReturn:
    run_command(evaluate)


if __name__ == "__main__":
    main()
