"""`vmdepth-eval`: how right a model's depth is, on clips it never saw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import check_target, write_report
from vmdepth_runtime.stream import DepthResizer, resize_frame

if TYPE_CHECKING:
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

    depths: per clip [N, H, W]. The map is the per-pixel mean of inverse depth over these very clips. It is tried as it
    is and with every clip first brought to mean 0 and deviation 1; the better δ1 is returned.
    """
    inverses = [np.where(np.isfinite(d) & (d > 0), 1 / np.where(d > 0, d, 1), 0) for d in depths]
    normalised = [(i - i.mean()) / max(float(i.std()), 1e-6) for i in inverses]
    candidates = []
    for maps in (inverses, normalised):
        mean = np.mean([m.mean(axis=0) for m in maps], axis=0)
        candidates.append(_mean([accuracy(np.broadcast_to(mean, d.shape), d) for d in depths]))
    return max(candidates, key=lambda a: a.delta1)


def evaluate_rendered(session: Session, clips: int, official: bool = False) -> tuple[Accuracy, Accuracy]:
    """The session on held-out rendered clips, streamed frame by frame; and the mean map on the same clips.

    official: see `stream_depth`; pictures are then rendered at `OFFICIAL_PICTURE` instead of the model's size.
    """
    from vmdepth.data.synthetic import render_clips

    contract = session.contract
    if contract.streams != 1:
        raise InputError(f"the model takes {contract.streams} streams at once; evaluate one exported with --streams 1")
    height, width = OFFICIAL_PICTURE if official else (contract.height, contract.width)
    figures, truths = [], []
    for seed in range(clips):
        clip = render_clips([seed], FRAMES_PER_CLIP, height, width)
        images = (clip.rgb[0].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        truth = clip.depth[0, :, 0].numpy()
        depth = stream_depth(session, images, official)
        figures.append(accuracy(1 / np.maximum(depth, 1e-3) if contract.depth_kind == "metric" else depth, truth))
        truths.append(truth)
    return _mean(figures), mean_map_accuracy(truths)


def stream_depth(session: Session, images: Iterable[NDArray[np.uint8]], official: bool = False) -> NDArray[np.float32]:
    """The session's depth [N, H, W] of frames uint8 [H, W, 3], from its initial states.

    official: frames of any one size, resized as Depth Anything does, to whole grey levels, and depth brought back to
    that size. Otherwise they have the model's size.
    """
    session.reset()
    depths, bring_back = [], DepthResizer("cubic")
    for image in images:
        if official:
            resize_frame(image, session.frame[0], "cubic")
            depths.append(np.empty(image.shape[:2], np.float32))
            bring_back(session.step().depth[0], depths[-1])
        else:
            session.frame[0] = image
            depths.append(session.step().depth[0].copy())
    return np.stack(depths)


def _mean(figures: list[Accuracy]) -> Accuracy:
    return Accuracy(float(np.mean([f.delta1 for f in figures])), float(np.mean([f.absrel for f in figures])))


@click.command("vmdepth-eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", metavar="rendered[:CLIPS]")
@click.option(
    "--official",
    is_flag=True,
    help="Prepare pictures as Depth Anything does: from 640x480, shorter side to 518, cubic.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def evaluate(model: Path, data: str, official: bool, report: Path | None) -> None:
    """Accuracy of MODEL (.safetensors, .pth or .onnx), streamed frame by frame, on held-out rendered clips."""
    kind, _, count = data.partition(":")
    if kind != "rendered" or not (count or "64").isdigit() or int(count or 64) < 1:
        raise InputError(f"data '{data}': should be 'rendered' or 'rendered:CLIPS', for example rendered:64")
    clips = int(count or 64)
    if report:
        check_target(report)

    from vmdepth.official_images import network_size
    from vmdepth.session import open_session

    size = network_size(*OFFICIAL_PICTURE)
    session = open_session(model, size=size) if official else open_session(model)
    has = (session.contract.height, session.contract.width)
    if official and has != size:
        raise InputError(
            f"{model}: made for {has[0]}x{has[1]}, official preparation gives {size[0]}x{size[1]}; export it again "
            f"with --size {size[0]}x{size[1]}"
        )
    own, blind = evaluate_rendered(session, clips, official)
    if report:
        figures = {
            "model": str(model),
            "clips": clips,
            "official": official,
            "accuracy": asdict(own),
            "mean_map": asdict(blind),
        }
        write_report(figures, report)
    click.echo(f"{model} on {clips} held-out rendered clips of {FRAMES_PER_CLIP} frames, one fit per clip:")
    click.echo(f"  δ1 {100 * own.delta1:.1f} %, AbsRel {own.absrel:.3f}")
    click.echo(f"  best per-pixel mean map: δ1 {100 * blind.delta1:.1f} %, AbsRel {blind.absrel:.3f}")


def main() -> NoReturn:
    run_command(evaluate)


if __name__ == "__main__":
    main()
