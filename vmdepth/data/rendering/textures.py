"""A bank of tileable random textures with their mip levels, and filtered look-ups into it.

A texture holds no colour: its three channels are weights that every surface turns into colours of its own, so a few
dozen tiles give endless materials. The bank is drawn once per process from a fixed seed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SIZE = 128
"""Texels along one edge of a tile (a power of two)."""

LEVELS = SIZE.bit_length()
"""Mip levels of a tile, from SIZE × SIZE down to one texel."""

CHANNELS = 3
"""Mix from the first to the second colour (0..1), share of the third colour (0..1), brightness around 1."""

_VARIANTS = 6
_Array = np.ndarray
_Pattern = Callable[[np.random.Generator], tuple[_Array, _Array, _Array]]


def _noise(rng: np.random.Generator, slope: float, stretch: float = 1.0) -> _Array:
    """Tileable noise [SIZE, SIZE] of zero mean and unit deviation; its amplitude falls as frequency ** -slope."""
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE * stretch
    fx = np.fft.rfftfreq(SIZE)[None] * SIZE
    amplitude = np.maximum(np.hypot(fx, fy), 1.0) ** -slope
    amplitude[0, 0] = 0.0
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(amplitude * phase * rng.rayleigh(size=amplitude.shape), s=(SIZE, SIZE))
    return (field - field.mean()) / field.std()


def _grid() -> tuple[_Array, _Array]:
    y, x = np.meshgrid((np.arange(SIZE) + 0.5) / SIZE, (np.arange(SIZE) + 0.5) / SIZE, indexing="ij")
    return x, y


def _unit(values: _Array) -> _Array:
    """Noise of unit deviation brought to 0..1."""
    return np.clip(0.5 + 0.25 * values, 0.0, 1.0)


def _detail(rng: np.random.Generator, strength: float) -> _Array:
    return 1.0 + strength * _noise(rng, float(rng.uniform(0.3, 1.0))).clip(-2.5, 2.5)


def _cells(rng: np.random.Generator, rows: int, columns: int, shift: bool) -> tuple[_Array, _Array]:
    """A shade per cell (0..1) and the distance to the cell's border in tile units, rows shifted at random or not."""
    x, y = _grid()
    row = np.floor(y * rows).astype(int)
    offset = rng.random(rows) if shift else np.zeros(rows)
    u = x * columns + offset[row]
    column = np.floor(u).astype(int) % columns
    shade = rng.random((rows, columns))[row, column]
    in_u, in_v = u % 1.0, (y * rows) % 1.0
    border = np.minimum(np.minimum(in_u, 1 - in_u) / columns, np.minimum(in_v, 1 - in_v) / rows)
    return shade, border


def _bricks(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    rows = int(rng.choice([4, 6, 8, 12]))
    columns = max(2, round(rows / rng.uniform(1.8, 3.0)))
    x, y = _grid()
    row = np.floor(y * rows).astype(int)
    u = x * columns + 0.5 * (row % 2)
    column = np.floor(u).astype(int) % columns
    in_u, in_v = u % 1.0, (y * rows) % 1.0
    border = np.minimum(np.minimum(in_u, 1 - in_u) / columns, np.minimum(in_v, 1 - in_v) / rows)
    joint = (border < rng.uniform(0.006, 0.014)).astype(float)
    return rng.random((rows, columns))[row, column], joint, _detail(rng, 0.10)


def _tiles(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    rows = int(rng.choice([2, 3, 4, 6, 8]))
    shade, border = _cells(rng, rows, rows, shift=False)
    return shade * rng.uniform(0.2, 1.0), (border < rng.uniform(0.006, 0.012)).astype(float), _detail(rng, 0.06)


def _checkers(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    count = 2 * int(rng.integers(1, 5))
    x, y = _grid()
    odd = (np.floor(x * count) + np.floor(y * count)) % 2
    return odd, 0.3 * _unit(_noise(rng, 1.2)), _detail(rng, 0.08)


def _planks(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    rows = int(rng.choice([4, 5, 8, 10]))
    shade, border = _cells(rng, rows, int(rng.integers(1, 3)), shift=True)
    grain = _noise(rng, 0.9, stretch=0.08)
    mix = np.clip(0.6 * shade + 0.4 * _unit(grain), 0, 1)
    return mix, 0.8 * (border < 0.006).astype(float), 1.0 + 0.10 * grain.clip(-2, 2)


def _stripes(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    edges = np.sort(rng.random(int(rng.integers(4, 14))))
    x, _ = _grid()
    band = np.searchsorted(edges, x) % len(edges)
    return rng.random(len(edges))[band], (rng.random(len(edges)) < 0.2)[band].astype(float), _detail(rng, 0.07)


def _cloudy(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    slope = float(rng.uniform(0.9, 1.7))
    return _unit(_noise(rng, slope)), _unit(_noise(rng, slope) - 1.5), _detail(rng, rng.uniform(0.03, 0.15))


def _speckle(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    fine = _noise(rng, float(rng.uniform(0.2, 0.8)))
    return _unit(_noise(rng, 1.3)), (fine > rng.uniform(1.0, 1.8)).astype(float), 1.0 + 0.14 * fine.clip(-2, 2)


def _nearest(rng: np.random.Generator, count: int) -> tuple[_Array, _Array, _Array]:
    """Index of the nearest of `count` random points on the torus, and the distances to the nearest and the second."""
    x, y = _grid()
    points = rng.random((count, 2))
    dx = np.abs(x[..., None] - points[:, 0])
    dy = np.abs(y[..., None] - points[:, 1])
    distance = np.hypot(np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy))
    order = np.argpartition(distance, 1, axis=-1)[..., :2]
    pair = np.sort(np.take_along_axis(distance, order, -1), -1)
    return distance.argmin(-1), pair[..., 0], pair[..., 1]


def _stones(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    count = int(rng.integers(12, 60))
    index, first, second = _nearest(rng, count)
    joint = (second - first < rng.uniform(0.01, 0.03)).astype(float)
    return rng.random(count)[index], joint, _detail(rng, 0.12)


def _spots(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    count = int(rng.integers(10, 50))
    index, first, _ = _nearest(rng, count)
    radius = rng.uniform(0.02, 0.09, count)
    inside = (first < radius[index]).astype(float)
    return inside * rng.random(count)[index], inside * (rng.random(count) < 0.3)[index], _detail(rng, 0.05)


def _marble(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    x, y = _grid()
    waves = rng.integers(1, 4, 2)
    field = np.sin(2 * np.pi * (waves[0] * x + waves[1] * y) + rng.uniform(0.7, 2.5) * _noise(rng, 1.5))
    return 0.5 + 0.5 * field, (np.abs(field) < 0.06) * 0.7, _detail(rng, 0.05)


def _weave(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    count = 2 * int(rng.integers(3, 10))
    x, y = _grid()
    across, along = np.sin(np.pi * count * x) ** 2, np.sin(np.pi * count * y) ** 2
    over = (np.floor(x * count) + np.floor(y * count)) % 2
    bands = np.floor(x * rng.integers(1, 5) * 2) % 2
    return np.where(over > 0, across, along), 0.5 * bands, _detail(rng, 0.06)


def _windows(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    rows, columns = rng.integers(2, 7, 2)
    x, y = _grid()
    in_u, in_v = (x * columns) % 1.0, (y * rows) % 1.0
    wide, high = rng.uniform(0.4, 0.85, 2)
    pane = (np.abs(in_u - 0.5) < wide / 2) & (np.abs(in_v - 0.5) < high / 2)
    frame = pane & ((np.abs(in_u - 0.5) > wide / 2 - 0.05) | (np.abs(in_u - 0.5) < 0.03))
    lit = rng.random((rows, columns))[np.floor(y * rows).astype(int), np.floor(x * columns).astype(int)]
    return pane * (0.6 + 0.4 * lit), frame.astype(float), _detail(rng, 0.06)


def _books(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    rows = int(rng.integers(2, 6))
    x, y = _grid()
    row = np.floor(y * rows).astype(int)
    mix, accent = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    for r in range(rows):
        edges = np.sort(rng.random(int(rng.integers(8, 24))))
        band = np.searchsorted(edges, x) % len(edges)
        top = rng.uniform(0.1, 0.35, len(edges))[band]
        here, book = row == r, (y * rows) % 1.0 > top
        mix = np.where(here, rng.random(len(edges))[band] * book, mix)
        accent = np.where(here, (rng.random(len(edges)) < 0.35)[band] * book, accent)
    return mix, accent, _detail(rng, 0.05)


def _plain(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    return 0.3 * _unit(_noise(rng, 1.6)), np.zeros((SIZE, SIZE)), _detail(rng, rng.uniform(0.02, 0.06))


def _grass(rng: np.random.Generator) -> tuple[_Array, _Array, _Array]:
    blades = _noise(rng, float(rng.uniform(0.4, 0.8)), stretch=0.35)
    return _unit(_noise(rng, 0.9)), _unit(blades - 2.0), 1.0 + 0.22 * blades.clip(-2, 2)


_PATTERNS: dict[str, _Pattern] = {
    "bricks": _bricks,
    "tiles": _tiles,
    "checkers": _checkers,
    "planks": _planks,
    "stripes": _stripes,
    "cloudy": _cloudy,
    "speckle": _speckle,
    "stones": _stones,
    "spots": _spots,
    "marble": _marble,
    "weave": _weave,
    "windows": _windows,
    "books": _books,
    "plain": _plain,
    "grass": _grass,
}
_NUMBERS = {name: number for number, name in enumerate(_PATTERNS)}

TILES = len(_PATTERNS) * _VARIANTS
"""Numbers of the tiles drawn here; those of photographs follow."""


def choose(rng: np.random.Generator, *names: str) -> int:
    """Number of a random tile of one of the named patterns (any pattern where none is named)."""
    if not names:
        return int(rng.integers(TILES))
    return _NUMBERS[names[rng.integers(len(names))]] * _VARIANTS + int(rng.integers(_VARIANTS))


@functools.cache
def bank(device: torch.device) -> Tensor:
    """All tiles with all levels, [tiles × texels of a tile, CHANNELS] float32; levels of a tile follow each other."""
    rng = np.random.default_rng(20240229)
    tiles = np.stack([np.stack(make(rng)) for make in _PATTERNS.values() for _ in range(_VARIANTS)])
    return with_levels(torch.from_numpy(tiles.astype(np.float32))).to(device)


def with_levels(level: Tensor) -> Tensor:
    """Tiles [tiles, CHANNELS, SIZE, SIZE] → themselves and their levels, [tiles × texels of a tile, CHANNELS]."""
    levels = [level.flatten(2)]
    while level.shape[-1] > 1:
        level = functional.avg_pool2d(level, 2)
        levels.append(level.flatten(2))
    return torch.cat(levels, 2).transpose(1, 2).reshape(-1, CHANNELS).contiguous()


TEXELS = (4 * SIZE * SIZE - 1) // 3
"""Of a tile and its levels."""


def sample(table: Tensor, tile: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Tensor:
    """Trilinear look-up.

    table: `bank`, perhaps with photographs after it. tile: [n] float, tile numbers; u, v: [n] place in tile units (any
    value: tiles repeat); footprint: [n] size of a pixel on the surface in tile units. Returns [CHANNELS, n].
    """
    lod = torch.log2(footprint * SIZE).clamp_(0.0, LEVELS - 1.001)
    lower = lod.floor()
    fade = lod.sub_(lower)
    u, v = u - u.floor(), v - v.floor()
    # Numbers of texels stay below 2^24, where float32 counts exactly.
    texels = torch.empty((u.numel(), 8), device=u.device)
    weights = torch.empty((u.numel(), 8), device=u.device)
    for step in (0, 1):
        size = torch.exp2((LEVELS - 1 - step) - lower).round_()
        # The levels above this one hold (4 SIZE² − 4 size²) / 3 texels.
        start = (tile * TEXELS).add_((SIZE * SIZE - size * size).mul_(4.0 / 3.0)).round_()
        x, y = (u * size).sub_(0.5), (v * size).sub_(0.5)
        left, top = x.floor(), y.floor()
        fx, fy = x.sub_(left), y.sub_(top)
        # left lies in −1 .. size − 1, and left + 1 in 0 .. size: wrap both.
        right, bottom = left + 1, top + 1
        right.masked_fill_(right >= size, 0.0)
        bottom.masked_fill_(bottom >= size, 0.0)
        left = torch.where(left < 0, size - 1, left)
        top = torch.where(top < 0, size - 1, top)
        top, bottom = torch.addcmul(start, top, size), torch.addcmul(start, bottom, size)
        share = fade if step else 1.0 - fade
        low = share * fy
        high = share - low
        first = 4 * step
        torch.add(top, left, out=texels[:, first])
        torch.add(top, right, out=texels[:, first + 1])
        torch.add(bottom, left, out=texels[:, first + 2])
        torch.add(bottom, right, out=texels[:, first + 3])
        torch.mul(high, fx, out=weights[:, first + 1])
        torch.sub(high, weights[:, first + 1], out=weights[:, first])
        torch.mul(low, fx, out=weights[:, first + 3])
        torch.sub(low, weights[:, first + 3], out=weights[:, first + 2])
    return functional.embedding_bag(texels.int(), table, per_sample_weights=weights, mode="sum").t()
