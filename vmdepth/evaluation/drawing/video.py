"""Depth to look at: colour, truth and models side by side, all in one range of colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth.data.rgbd import RgbdFrame, depth_in_image
from vmdepth.evaluation.figures import Evaluation
from vmdepth_runtime.atomic_files import check_target
from vmdepth_runtime.depth.colour_map import FixedRange, colourise
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.open import open_sink
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo

_FRAME_RATE = 30  # of rendered clips; RGB-D folders do not say theirs


def check_video(path: Path) -> None:
    """Raise InputError unless a video can be put there."""
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path}: unknown video ending '{path.suffix}'; use .mp4")
    check_target(path)


def write_video(evaluation: Evaluation, frames: Iterable[RgbdFrame], path: Path) -> None:
    """The first sequence, frame for frame, at 30 frames/s: colour | truth | model, or colour | model | other model.

    Inverse depth, predictions after their one fit, painted from dark (far) to bright (near) between the 1st and 99th
    percentile of the truth; what is not known is darkest. frames: the sequence that was evaluated first, once more.
    Raises WorkError when the video cannot be written; nothing stands under its name before it is complete.
    """
    tracks = evaluation.first.tracks
    fits = [model.sequences[0].fit for model in evaluation.models]
    with_truth = len(tracks) == 1
    true = (np.where(d > 0, 1 / np.where(d > 0, d, 1), np.nan).astype(np.float32) for d in evaluation.first.true)
    colours = FixedRange.of(true)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for number, frame in enumerate(frames):
            maps = [_inverse(depth_in_image(frame))] if with_truth else []
            maps += [
                (scale * track.inverse[number] + shift).astype(np.float32)
                for track, (scale, shift) in zip(tracks, fits, strict=True)
            ]
            painted = [colourise(one, colours.low, colours.high) for one in maps]
            picture = np.concatenate([frame.image, *painted], axis=1)
            yield picture if picture.shape[1] % 2 == 0 else np.pad(picture, ((0, 0), (0, 1), (0, 0)), "edge")

    _write(pictures(), path)


def _write(pictures: Iterator[NDArray[np.uint8]], path: Path) -> None:
    first = next(pictures)
    height, half = first.shape[0], first.shape[1] // 2
    step = Fraction(1, _FRAME_RATE)
    with open_sink(path, SinkFacts(VideoInfo(half, height, None, _FRAME_RATE, step))) as sink:

        def put(number: int, picture: NDArray[np.uint8]) -> None:
            # The sink joins a left and a right half of the same width; here both come from one picture.
            left, right = picture[:, :half], picture[:, half:]
            sink.write(SourceFrame(number, float(number * step), left), np.empty((0, 0), np.float32), right)

        put(0, first)
        for number, picture in enumerate(pictures, 1):
            put(number, picture)


def _inverse(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), 0).astype(np.float32)
