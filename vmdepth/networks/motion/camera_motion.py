"""What is left of a picture's motion once the camera's own is taken out, by relative depth and plain operations.

The camera between two frames of a scene that stands still is eleven numbers: x' ~ M (x, y, 1) + d · t, a homography
and a parallax (plane and parallax, Sawhney 1994), exact for any focal length and for any inverse depth d that is affine
in the true one. They are fitted to the brightness of the pictures by Gauss-Newton, coarse to fine; what moves by itself
weighs little as it fits badly. Then Lucas-Kanade (1981) in windows tells what is left.

Places are in half widths from the middle of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 4
_CAMERA = ((3, 4), (2, 3), (1, 3), (0, 2))  # level (0 is the finest), and steps there
_LEFT = ((2, 3), (1, 2), (0, 2))
_PARAMETERS = 11
_DAMPING, _FLOOR = 1e-3, 1e-5  # of a parameter's own curvature, and of their mean
_TOLERANCE = 1e-3  # brightness
_WINDOW = 5
_STILL = 0.03  # curvature of brightness below which a window tells nothing


@dataclass(frozen=True)
class Left:
    """Of frames [n]: flow [n, 2, h, w], pixels of a picture 272 wide; how well it is known, what it leaves unexplained,
    and what the camera alone does, and where the place was in sight: [n, 1, h, w] each; parallax [n, 2, h, w], pixels
    per unit of depth."""

    flow: Tensor
    known: Tensor
    unexplained: Tensor
    inside: Tensor
    unmoved: Tensor
    parallax: Tensor


def pyramid(grey: Tensor) -> list[Tensor]:
    """Pictures [n, 1, h, w], a little blurred, from fine to coarse, each half of the one before."""
    levels = [_blurred(grey)]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def camera(now: Sequence[Tensor], then: Sequence[Tensor], depth: Tensor) -> Tensor:
    """The eleven numbers [n, 11] that bring places of `now` to where they are in `then`, pyramids both.

    depth: [n, h, w], relative inverse depth of a mean of about 1.
    """
    fitted = depth.new_zeros(len(depth), _PARAMETERS)
    for level, steps in _CAMERA:
        picture, d = now[level], _at(depth, now[level])
        for _ in range(steps):
            fitted = fitted + _camera_step(picture, then[level], d, fitted)
    return fitted


def left(now: Sequence[Tensor], then: Sequence[Tensor], depth: Tensor, fitted: Tensor) -> Left:
    """What is left at every place of `now`'s finest level, beside the camera's motion `fitted`."""
    flow = now[_LEFT[0][0]].new_zeros(1, 2, 1, 1)
    for level, steps in _LEFT:
        picture = now[level]
        rows, columns = picture.shape[-2:]
        u, v, across, down = _places(fitted, _at(depth, picture))
        base = torch.stack([u, v], dim=1)
        flow = flow + torch.zeros_like(base) if flow.shape[-1] == 1 else _resized(flow, rows, columns)
        for _ in range(steps):
            brought, inside = _sampled(then[level], base + flow)
            x, y = (g * (2 / columns) for g in _gradients((picture + brought) / 2))
            off = (picture - brought) * inside
            xx, xy, yy, xe, ye = _windowed(torch.cat([x * x, x * y, y * y, x * off, y * off], dim=1)).split(1, dim=1)
            more = _STILL + 0.02 * (xx + yy)
            xx, yy = xx + more, yy + more
            determinant = xx * yy - xy * xy
            change = torch.cat([yy * xe - xy * ye, xx * ye - xy * xe], dim=1) / determinant
            flow = _blurred(flow + change.clamp(-2, 2) * (2 / columns))
    brought, inside = _sampled(then[0], base + flow)
    unmoved, _ = _sampled(then[0], base)
    q = fitted[:, :, None, None]
    parallax = torch.stack([(q[:, 3] - q[:, 10] * u) * across[:, 0], (q[:, 7] - q[:, 10] * v) * down[:, 4]], dim=1)
    known = determinant / (xx + yy)
    return Left(flow * 136, known, (now[0] - brought).abs(), inside, (now[0] - unmoved).abs(), parallax * 136)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """x [n, k] of matrix · x = right, [n, k, k] and [n, k], by Gauss-Jordan without pivots: a damped normal matrix
    needs none. `torch.linalg.solve` has no form in ONNX."""
    system = torch.cat([matrix, right[:, :, None]], dim=2)
    size = matrix.shape[1]
    for i in range(size):
        row = system[:, i : i + 1] / system[:, i : i + 1, i : i + 1]
        others = system - system[:, :, i : i + 1] * row
        system = torch.cat([others[:, :i], row, others[:, i + 1 :]], dim=1)
    return system[:, :, -1]


def _camera_step(picture: Tensor, then: Tensor, depth: Tensor, fitted: Tensor) -> Tensor:
    u, v, across, down = _places(fitted, depth)
    brought, inside = _sampled(then, torch.stack([u, v], dim=1))
    x, y = _gradients((picture + brought) / 2)
    off = picture - brought
    size = off.abs()
    usual = (size * inside).mean((1, 2, 3), keepdim=True) / (inside.mean((1, 2, 3), keepdim=True) + 1e-6)
    weight = (inside / (1 + (size / (usual + _TOLERANCE)) ** 2)).flatten(2)
    slopes = (x * across + y * down).flatten(2)
    weighed = slopes * weight
    matrix = weighed @ slopes.transpose(1, 2)
    right = (weighed * off.flatten(2)).sum(dim=2)
    one = torch.eye(_PARAMETERS, device=matrix.device, dtype=matrix.dtype)
    own = (matrix * one).sum(dim=2)
    damped = matrix + one * (own * _DAMPING + _FLOOR * own.mean(dim=1, keepdim=True) + 1e-9)[:, None]
    return solved(damped, right)


def _places(fitted: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where places come to lie, u and v [n, h, w], and how each of the numbers moves them, [n, 11, h, w] both."""
    rows, columns = depth.shape[-2:]
    x = ((torch.arange(columns, device=depth.device) + 0.5 - columns / 2) / (columns / 2)).expand_as(depth)
    y = ((torch.arange(rows, device=depth.device) + 0.5 - rows / 2) / (columns / 2))[:, None].expand_as(depth)
    one, none = torch.ones_like(depth), torch.zeros_like(depth)
    q = fitted[:, :, None, None]
    z = (1 + q[:, 8] * x + q[:, 9] * y + q[:, 10] * depth).clamp_min(0.2)
    u = (x + q[:, 0] + q[:, 1] * x + q[:, 2] * y + q[:, 3] * depth) / z
    v = (y + q[:, 4] + q[:, 5] * x + q[:, 6] * y + q[:, 7] * depth) / z
    nones = [none] * 4
    across = torch.stack([one, x, y, depth, *nones, -u * x, -u * y, -u * depth], dim=1) / z[:, None]
    down = torch.stack([*nones, one, x, y, depth, -v * x, -v * y, -v * depth], dim=1) / z[:, None]
    return u, v, across, down


def _sampled(picture: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = picture.shape[-2:]
    u, v = places[:, 0], places[:, 1] * (columns / rows)
    inside = ((u.abs() < 1 - 1 / columns) & (v.abs() < 1 - 1 / rows)).to(picture.dtype)
    grid = torch.stack([u, v], dim=-1)
    found = F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found, inside[:, None]


def _gradients(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Across and down, per half width."""
    padded, scale = F.pad(picture, (1, 1, 1, 1), mode="replicate"), picture.shape[-1] / 4
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) * scale
    return across, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) * scale


def _blurred(maps: Tensor, size: int = 3) -> Tensor:
    return F.avg_pool2d(F.pad(maps, (size // 2,) * 4, mode="replicate"), size, 1)


def _windowed(maps: Tensor) -> Tensor:
    return _blurred(_blurred(maps, _WINDOW))


def _resized(maps: Tensor, rows: int, columns: int) -> Tensor:
    return F.interpolate(maps, (rows, columns), mode="bilinear", align_corners=False)


def _at(depth: Tensor, picture: Tensor) -> Tensor:
    return _resized(depth[:, None], picture.shape[-2], picture.shape[-1])[:, 0]
