"""Masks and maps to look at: tinted frames, maps in colours, videos of them and one contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.first_pass import Floats
from vmdepth_runtime.depth.colour_map import colourise
from vmdepth_runtime.encoding.pictures import picture
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.open import open_sink
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo

Picture = NDArray[np.uint8]

_TINT = np.array([255, 40, 40], np.float32)
_SHARE = 0.45  # of the tint where something moves: what is below stays to be seen
_LEAST = 252  # pixels of the height of a video or a row's pictures' width, which small networks' frames are brought to
_ROWS = 8  # frames of a contact sheet
_TITLE = 18
_NO_DEPTH = np.empty((0, 0), np.float32)


def tinted(image: Picture, moves: NDArray[np.bool_]) -> Picture:
    """A frame, uint8 [H, W, 3] RGB, with what moves in it, bool [H, W], red and outlined."""
    painted = image.astype(np.float32)
    painted[moves] = (1 - _SHARE) * painted[moves] + _SHARE * _TINT
    shown = painted.round().astype(np.uint8)
    edges, _ = cv2.findContours(moves.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(shown, edges, -1, (255, 255, 0), 1), np.uint8)


def heat(values: Floats, height: int, width: int) -> Picture:
    """A map 0..1, float32 [h, w], in colours from dark (0) to bright (1), of that size."""
    return colourise(_resized(values, height, width), 0.0, 1.0)


def film(path: Path, pictures: Iterable[Picture], fps: float) -> None:
    """Write pictures of one size, uint8 [H, W, 3] RGB, as an H.264 video. Raises WorkError."""
    every = iter(pictures)
    first = next(every)
    factor = _factor(first.shape[0])
    step = Fraction(1 / fps).limit_denominator(90_000)
    info = VideoInfo(factor * first.shape[1], factor * first.shape[0], None, fps, step)
    with open_sink(path, SinkFacts(info, side_by_side=False)) as sink:
        for number, shown in enumerate((first, *every)):
            large = np.ascontiguousarray(shown.repeat(factor, axis=0).repeat(factor, axis=1))
            sink.write(SourceFrame(number, float(number * step), large), _NO_DEPTH, large)


def write_sheet(
    path: Path, images: Picture, moves: NDArray[np.bool_], maps: Mapping[str, Floats], names: list[str]
) -> None:
    """One picture: of some frames, evenly over the video, each with what moves and with every map.

    Args:
        path: of the .png.
        images: uint8 [T, H, W, 3].
        moves: bool [T, H, W].
        maps: by title, float32 [T, h, w], 0..1.
        names: of the frames.
    """
    count, height, width = moves.shape
    across = round(width * _factor(width) * 0.75)
    down = round(across * height / width)
    rows = []
    for place in np.unique(np.linspace(0, count - 1, min(_ROWS, count)).round().astype(int)):
        cells = [images[place], tinted(images[place], moves[place])]
        cells += [heat(values[place], height, width) for values in maps.values()]
        share = f"{moves[place].mean():.1%} moves"
        titles = [names[place], share, *maps]
        rows.append(
            np.hstack([_titled(_fitted(cell, down, across), text) for cell, text in zip(cells, titles, strict=True)])
        )
    path.write_bytes(picture(np.vstack(rows), ".png"))


def _factor(side: int) -> int:
    """How many times as large a side is shown: a few patches are nothing to look at."""
    return max(1, -(-_LEAST // side))


def _resized(values: Floats, height: int, width: int) -> Floats:
    if values.shape == (height, width):
        return values
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _fitted(shown: Picture, height: int, width: int) -> Picture:
    way = cv2.INTER_AREA if height < shown.shape[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(shown, (width, height), interpolation=way), np.uint8)


def _titled(cell: Picture, text: str) -> Picture:
    whole = np.zeros((cell.shape[0] + _TITLE, cell.shape[1], 3), np.uint8)
    whole[_TITLE:] = cell
    cv2.putText(whole, text, (3, _TITLE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return whole
