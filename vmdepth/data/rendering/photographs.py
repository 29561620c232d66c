"""Photographs as textures of the rendered world: what real surfaces look like, which no pattern of ours does."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmdepth.data.rendering.textures import SIZE, TEXELS, TILES, bank, with_levels
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.listing import IMAGE_ENDINGS

_CUTS = 2**24 // TEXELS - TILES
"""Parts cut from all photographs together: as many as there are numbers for their texels (see `textures.sample`)."""

_SEAM = SIZE // 8
"""Texels over which a tile passes into itself at its border."""


@functools.cache
def papered_bank(folder: Path, device: torch.device) -> Tensor:
    """`bank`, and the photographs of a folder after it."""
    return torch.cat([bank(device), photographs(folder).to(device)])


def photographs(folder: Path) -> Tensor:
    """Tiles with all levels, [tiles × texels of a tile, 3] float32 linear RGB, cut from the pictures below a folder.

    As many parts from every picture, small and large, at random places that are the same at each call. Raises
    InputError, naming the folder or file, where there is no picture or one cannot be read.
    """
    files = find_photographs(folder)
    rng = np.random.default_rng(20260711)
    chosen = [files[i] for i in rng.permutation(len(files))[:_CUTS]]
    each = max(1, _CUTS // len(chosen))
    tiles = [tile for file in chosen for tile in _tiles(file, each, rng)]
    return with_levels(torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2))


def find_photographs(folder: Path) -> list[Path]:
    """The pictures below a folder, in the order of their names. Raises InputError where there are none."""
    if not folder.is_dir():
        raise InputError(f"textures={folder}: no such folder; name one with pictures in it")
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names if not name.startswith("."))
    files = sorted(file for file in found if file.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise InputError(f"textures={folder}: no picture in it ({', '.join(sorted(IMAGE_ENDINGS))})")
    return files


def _tiles(file: Path, count: int, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Square parts of a picture, [SIZE, SIZE, 3] linear RGB, that repeat without a seam."""
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"textures: {file} cannot be read as a picture; take it out of the folder")
    picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    rows, columns = picture.shape[:2]
    tiles = []
    for _ in range(count):
        side = max(1, round(min(rows, columns) * float(np.exp(rng.uniform(np.log(0.15), 0)))))
        top, left = (int(rng.integers(length - side + 1)) for length in (rows, columns))
        part = picture[top : top + side, left : left + side]
        small = cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_AREA if side > SIZE else cv2.INTER_LINEAR)
        tiles.append(_seamless((small.astype(np.float32) / 255) ** np.float32(2.2)))
    return tiles


def _seamless(tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tile, passing near its border into itself shifted by half, whose seams lie in the middle."""
    edge = np.minimum(np.arange(SIZE) + 0.5, SIZE - np.arange(SIZE) - 0.5) / _SEAM
    near = np.clip(edge, 0, 1).astype(np.float32)
    for axis in (0, 1):
        share = near.reshape([-1 if a == axis else 1 for a in range(3)])
        tile = share * tile + (1 - share) * np.roll(tile, SIZE // 2, axis)
    return tile
