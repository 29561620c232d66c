"""`vmdepth-parity`: do two sessions give the same depth and remember the same, frame after frame?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import check_target, write_report

if TYPE_CHECKING:
    from vmdepth.session import Session

FP32_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ParityReport:
    """What a comparison measured.

    frames: how many were compared. worst: output or state name → largest `range_error` over all frames. worst_frame:
    the frame (from 0) at which the worst of all was seen. tolerance: what was allowed.
    """

    frames: int
    worst: dict[str, float]
    worst_frame: int
    tolerance: float

    @property
    def agrees(self) -> bool:
        # A comparison with NaN is false, so a NaN anywhere disagrees.
        return self.frames > 0 and all(error <= self.tolerance for error in self.worst.values())

    @property
    def depth(self) -> float:
        return self.worst["depth"]

    @property
    def states(self) -> float:
        """The worst of all states; 0 for a network without any."""
        return max((error for name, error in self.worst.items() if name.startswith("state.")), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "agrees": self.agrees}


def compare(
    reference: Session, candidate: Session, frames: Iterable[NDArray[np.uint8]], tolerance: float = FP32_TOLERANCE
) -> ParityReport:
    """Run both from their initial states over the same frames, each with its own states, and measure.

    frames: uint8 [B, H, W, 3] RGB each. Raises InputError when the two are not of one size or have not the same states.
    """
    _check_comparable(reference, candidate)
    reference.reset()
    candidate.reset()
    history: list[dict[str, float]] = []
    for frame in frames:
        reference.frame[...] = frame
        candidate.frame[...] = frame
        expected, got = reference.step(), candidate.step()
        # A ring is what was written into it, so comparing every entry once compares it all.
        states, others = reference.written(), candidate.written()
        history.append(
            {
                "depth": range_error(expected.depth, got.depth),
                "descriptor": range_error(expected.descriptor, got.descriptor),
                "state_change": ratio_error(expected.state_change, got.state_change),
                **{f"state.{name}": range_error(states[name], others[name]) for name in states},
            }
        )
    if not history:
        return ParityReport(0, {}, 0, tolerance)
    # NumPy's max and argmax let a NaN win, Python's max may not.
    table = np.array([list(errors.values()) for errors in history])
    worst = dict(zip(history[0], table.max(axis=0).tolist(), strict=True))
    return ParityReport(len(history), worst, int(table.max(axis=1).argmax()), tolerance)


def range_error(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    """max |a − b| ÷ the spread of the reference from its 1st to its 99th percentile.

    A few hot values cannot stretch that spread. Where the reference is all but constant it says nothing: the largest
    magnitude stands in, or 1 for zeros.
    """
    low, high = np.percentile(reference, (1, 99))
    magnitude = float(np.max(np.abs(reference)))
    spread = float(high - low)
    if spread < 1e-3 * magnitude:
        spread = magnitude
    return float(np.max(np.abs(reference - candidate))) / (spread or 1.0)


def ratio_error(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    """max |a − b| ÷ max(1, |a|): for `state_change`, which is a share of the states' size as it is.

    Between two frames that are all but alike it is a small difference of large numbers; relative to itself its last
    digits would say nothing.
    """
    return float(np.max(np.abs(reference - candidate) / np.maximum(1, np.abs(reference))))


def rendered_frames(count: int, height: int, width: int, streams: int) -> Iterator[NDArray[np.uint8]]:
    """`count` frames of held-out rendered clips, one clip per stream: uint8 [B, H, W, 3]."""
    import cv2

    from vmdepth.data.synthetic import render_clips

    # Enlarged from a small rendering: what matters here is that the content moves, not how fine it is.
    small, chunk = (98, 126), 20
    for first in range(0, count, chunk):
        clips = render_clips(range(streams), min(chunk, count - first), *small, first_frame=first)
        images = (clips.rgb.clamp(0, 1) * 255).byte().permute(1, 0, 3, 4, 2).numpy()
        for frame in images:
            yield np.stack([cv2.resize(image, (width, height)) for image in frame])


def source_frames(source: str, count: int, height: int, width: int, streams: int) -> Iterator[NDArray[np.uint8]]:
    """Up to `count` frames of a video or folder, stretched to the model's size, the same for every stream."""
    import cv2

    from vmdepth_runtime.sources import open_source

    with open_source(source) as frames:
        for _, frame in zip(range(count), frames, strict=False):
            image = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
            yield np.repeat(image[None], streams, axis=0)


def _check_comparable(reference: Session, candidate: Session) -> None:
    a, b = reference.contract, candidate.contract
    sizes = [(c.streams, c.height, c.width) for c in (a, b)]
    if sizes[0] != sizes[1]:
        raise InputError(f"reference and candidate differ in streams, height, width: {sizes[0]} and {sizes[1]}")
    specs = [{s.name: s.shape for s in c.states} for c in (a, b)]
    odd = sorted(name for name in specs[0].keys() | specs[1].keys() if specs[0].get(name) != specs[1].get(name))
    if odd:
        raise InputError(f"reference and candidate do not have the same states: {', '.join(odd[:5])}")


@click.command("vmdepth-parity")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--source", help="Video or image folder to run both over. [default: rendered frames]")
@click.option("--frames", default=200, show_default=True, type=click.IntRange(min=1), help="At most this many.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def parity(reference: Path, candidate: Path, source: str | None, frames: int, report: Path | None) -> int:
    """Prove that CANDIDATE computes what REFERENCE does (each a .safetensors checkpoint or an .onnx step graph)."""
    from rich.console import Console
    from rich.table import Table

    from vmdepth.session import open_session
    from vmdepth_runtime.session import OnnxSession

    if report:
        check_target(report)
    # Checkpoints have no size of their own: they take that of the step graph they are compared with.
    if candidate.suffix == ".onnx":
        second = open_session(candidate)
        first = open_session(reference, like=second.contract)
    else:
        first = open_session(reference)
        second = open_session(candidate, like=first.contract if isinstance(first, OnnxSession) else None)
    contract = first.contract
    size = (contract.height, contract.width, contract.streams)
    images = source_frames(source, frames, *size) if source else rendered_frames(frames, *size)
    result = compare(first, second, images)
    if not result.frames:
        raise InputError(f"{source}: has no readable frame; choose another --source")
    if report:
        write_report(result.to_dict(), report)
    table = Table("output", "worst range error", f"≤ {result.tolerance:g}")
    for name, error in result.worst.items():
        table.add_row(name, f"{error:.2e}", "yes" if error <= result.tolerance else "NO")
    Console().print(table)
    verdict = "agree" if result.agrees else f"DISAGREE, worst at frame {result.worst_frame}"
    click.echo(f"{reference} and {candidate} {verdict} over {result.frames} frames")
    return 0 if result.agrees else 1


def main() -> NoReturn:
    run_command(parity)


if __name__ == "__main__":
    main()
