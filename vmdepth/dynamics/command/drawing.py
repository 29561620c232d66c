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
_OUTLINE = (255, 255, 0)
_LEAST = 252  # pixels of a video's height
_ROWS, _MAPS, _CELL = 8, 6, 252  # of a contact sheet: frames, maps, pixels across a picture
_TITLE = 18
_NO_DEPTH = np.empty((0, 0), np.float32)


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which frames of the network's size are shown: whole times theirs, and not too small."""
    factor = max(1, -(-_LEAST // height))
    return factor * height, factor * width


def tinted(image: Picture, moves: NDArray[np.bool_], size: tuple[int, int]) -> Picture:
    """A frame, uint8 [H, W, 3], with what moves in it, bool [H, W], red and outlined, at another height and width."""
    painted = resized(image, size).astype(np.float32)
    moving = cv2.resize(moves.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    painted[moving > 0] = (1 - _SHARE) * painted[moving > 0] + _SHARE * _TINT
    shown = painted.round().astype(np.uint8)
    edges, _ = cv2.findContours(moving, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(shown, edges, -1, _OUTLINE, 1), np.uint8)


def heat(values: Floats, size: tuple[int, int]) -> Picture:
    """A map 0..1, float32 [h, w], in colours from dark (0) to bright (1), at another height and width."""
    large = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    return colourise(np.asarray(large, np.float32), 0.0, 1.0)


def resized(image: Picture, size: tuple[int, int]) -> Picture:
    """A picture, uint8 [H, W, 3], at another height and width."""
    way = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=way), np.uint8)


def film(path: Path, pictures: Iterable[Picture], fps: float) -> None:
    """Write pictures of one size, uint8 [H, W, 3] RGB, as an H.264 video. Raises WorkError."""
    every = iter(pictures)
    first = next(every)
    step = Fraction(1 / fps).limit_denominator(90_000)
    info = VideoInfo(first.shape[1], first.shape[0], None, fps, step)
    with open_sink(path, SinkFacts(info, side_by_side=False)) as sink:
        for number, shown in enumerate((first, *every)):
            sink.write(SourceFrame(number, float(number * step), shown), _NO_DEPTH, shown)


def write_sheet(
    path: Path, images: Picture, moves: NDArray[np.bool_], maps: Mapping[str, Floats], titles: list[str]
) -> None:
    """One picture: of some frames, evenly over the video, each with what moves and with maps.

    Args:
        path: of the .png.
        images: uint8 [T, H, W, 3].
        moves: bool [T, H, W].
        maps: by title, float32 [T, h, w], 0..1, of which the last ones are shown.
        titles: of the frames.
    """
    count, height, width = moves.shape
    size = round(_CELL * height / width), _CELL
    last = dict(list(maps.items())[-_MAPS:])
    rows = []
    for place in np.unique(np.linspace(0, count - 1, min(_ROWS, count)).round().astype(int)):
        cells = [resized(images[place], size), tinted(images[place], moves[place], size)]
        cells += [heat(values[place], size) for values in last.values()]
        above = [titles[place], f"{moves[place].mean():.1%} moves", *last]
        rows.append(np.hstack([_titled(cell, text) for cell, text in zip(cells, above, strict=True)]))
    path.write_bytes(picture(np.vstack(rows), ".png"))


def _titled(cell: Picture, text: str) -> Picture:
    whole = np.zeros((cell.shape[0] + _TITLE, cell.shape[1], 3), np.uint8)
    whole[_TITLE:] = cell
    cv2.putText(whole, text, (3, _TITLE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return whole
