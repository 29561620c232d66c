"""A contact sheet: of every scene a picture, its true depth and what each model makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.data.rgbd import RgbdFrame, depth_in_image
from vmdepth.evaluation.alignment import fit_maps
from vmdepth.evaluation.figures import SequenceFigures
from vmdepth.evaluation.recording import Recording
from vmdepth_runtime.atomic_files import check_target, write_whole
from vmdepth_runtime.depth.colour_map import FixedRange, colourise
from vmdepth_runtime.errors import InputError

_HEIGHT = 144  # pixels of a row, without its title
_TITLE = 16
_SPARSE = 0.1  # share of known depth


def check_sheet(path: Path) -> None:
    """Raise InputError unless a picture can be put there."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: unknown picture ending '{path.suffix}'; use .png")
    check_target(path)


class Sheet:
    """Collects a row per sequence: colour | truth | models, of the frame nearest to the middle that has depth, after a
    fit of its own, with that frame's δ1.

    Painted from dark (far) to bright (near) in the range of the truth; what is not known is darkest.
    """

    def __init__(self, sequences: Sequence[Iterable[RgbdFrame]], names: Sequence[str]) -> None:
        self._sequences, self._names = sequences, names
        self._rows: list[NDArray[np.uint8]] = []

    def __call__(self, number: int, recording: Recording, figures: list[SequenceFigures]) -> None:
        known = [_known(true) for true in recording.true]
        shown = min((n for n, any_known in enumerate(known) if any_known), key=lambda n: abs(n - len(recording) // 2))
        frame = next(islice(self._sequences[number], shown, None))
        depth = depth_in_image(frame)
        true = np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), np.nan).astype(np.float32)
        if np.isfinite(true).mean() < _SPARSE:  # a LiDAR's beams would vanish in a small picture
            true = np.where(np.isfinite(true), true, cv2.dilate(np.nan_to_num(true), np.ones((5, 5), np.uint8)))
        colours = FixedRange.of([true])
        maps = [np.nan_to_num(true)]
        for track in recording.tracks:
            scale, shift = fit_maps([track.measured[shown]], [recording.true[shown]])
            maps.append((scale * track.inverse[shown] + shift).astype(np.float32))
        parts = [frame.image, *(colourise(one, colours.low, colours.high) for one in maps)]
        scores = ", ".join(f"{100 * one.per_frame['frame_delta1'][shown]:.1f} %" for one in figures)
        measure = f"{recording.truth.measure} " if recording.truth.teacher else ""
        title = f"{self._names[number]}, frame {shown}: {measure}{scores}"
        self._rows.append(_titled(np.concatenate([_small(part) for part in parts], axis=1), title))

    def write(self, path: Path) -> None:
        """All rows in one column. Raises WorkError where it cannot be written."""
        width = max(row.shape[1] for row in self._rows)
        rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in self._rows]
        _, picture = cv2.imencode(".png", np.concatenate(rows)[..., ::-1])
        write_whole(path, picture.tobytes())


def _known(depth: NDArray[np.float32]) -> bool:
    return bool((np.isfinite(depth) & (depth > 0)).any())


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    width = max(1, round(picture.shape[1] * _HEIGHT / picture.shape[0]))
    return cv2.resize(picture, (width, _HEIGHT), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]  # uint8


def _titled(row: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    above = np.zeros((_TITLE, row.shape[1], 3), np.uint8)
    cv2.putText(above, title, (2, _TITLE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([above, row])
