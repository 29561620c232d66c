"""What is left of a picture's motion once the camera's own is taken out, by relative depth and plain operations.

The camera between two frames of a scene that stands still is eleven numbers: x' ~ M (x, y, 1) + d · t, a homography
and a parallax (plane and parallax, Sawhney 1994), exact for any focal length and for any inverse depth d that is affine
in the true one. They are fitted to the brightness of the pictures by Gauss-Newton, coarse to fine; what moves by itself
weighs little as it fits badly. Then Lucas-Kanade (1981) in windows tells what is left. Slopes of brightness, and the
systems made of them, are those of the first step at each size: nothing is gained by others.

Places are in half widths from the middle of the picture. All is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_CAMERA = (2, 3), (1, 2), (0, 3)  # level (0 is the finest), and steps there
_LEFT = (2, 3), (1, 2), (0, 2)
_FEWEST = 100  # places of a level that tell a camera's eleven numbers
_PARAMETERS = 11  # of 3×4, the last of which is 1
_DAMPING, _FLOOR = 1e-3, 1e-3  # of a parameter's own curvature, and of their mean
_FARTHEST = 0.25  # that a step changes any of the numbers: pictures of nothing alike lead nowhere
_TOLERANCE = 1e-3  # brightness
_BLUR = 1.0, 1.0, 1.0
_WINDOW = 1.0, 2.0, 3.0, 3.0, 3.0, 2.0, 1.0  # five places, blurred
_STILL = 0.03  # curvature of brightness below which a window tells nothing
_PIXELS = 136.0  # in half a width, of the pictures whose pixels flow is told in


@dataclass(frozen=True)
class Left:
    """Of frames [n]: flow [n, 2, h, w], pixels of a picture 272 wide; how well it is known, what it leaves unexplained,
    what the camera alone does, and whether the place was in sight, 0..1: [n, 1, h, w] each; parallax [n, 2, h, w],
    pixels per unit of depth."""

    flow: Tensor
    known: Tensor
    unexplained: Tensor
    unmoved: Tensor
    inside: Tensor
    parallax: Tensor


def pyramid(maps: Tensor) -> list[Tensor]:
    """Maps [n, 1, h, w] from fine to coarse, each half of the one before."""
    levels = [maps]
    for _ in range(_CAMERA[0][0]):
        levels.append(halved(levels[-1]))
    return levels


def bases(depth: Tensor) -> list[Tensor]:
    """x, y, d and 1 of every place [n, 4, h · w] at every size, of relative inverse depth [n, 1, h, w] of mean 1.

    d is without its mean, which 1 is for.
    """
    return [_basis(level) for level in pyramid(depth - 1)]


def camera(now: Sequence[Tensor], then: Sequence[Tensor], basis: Sequence[Tensor]) -> Tensor:
    """M and t [n, 3, 4], in the order of x, y, d, 1, that bring places of `now` to where they are in `then`.

    now, then: pyramids of brightness, 0..4, a little blurred. basis: of `now`'s places, as `bases` gives it.
    """
    stays = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], device=now[0].device)
    fitted = stays.expand(len(now[0]), 3, 4)
    for level, steps in _CAMERA:
        picture = now[level]
        if basis[level].shape[2] < _FEWEST:
            continue
        places, z = _places(fitted, basis[level])
        for step in range(steps):
            brought, inside = _sampled(then[level], places.unflatten(2, picture.shape[-2:]))
            off, weight = _weighed(picture - brought, inside)
            if step == 0:
                slopes = _slopes((picture + brought) / 2, places, z, basis[level])
                inverse = _inverse(slopes, weight)
            change = (inverse @ ((slopes * weight) @ off.transpose(1, 2))).clamp(-_FARTHEST, _FARTHEST)
            fitted = fitted + F.pad(change, (0, 0, 0, 1)).view(-1, 3, 4)
            places, z = _places(fitted, basis[level])
    return fitted


def left(now: Sequence[Tensor], then: Sequence[Tensor], basis: Sequence[Tensor], fitted: Tensor) -> Left:
    """What is left at every place of the finest level beside the camera's motion `fitted`, given as to `camera`."""
    flow = torch.zeros_like(now[_LEFT[0][0]]).expand(-1, 2, -1, -1)
    for level, steps in _LEFT:
        picture, pixel = now[level], 2 / now[level].shape[-1]
        by_camera, z = _places(fitted, basis[level])
        base = by_camera.unflatten(2, picture.shape[-2:])
        flow = resized(flow, picture)
        for step in range(steps):
            brought, inside = _sampled(then[level], base + flow)
            if step == 0:
                slopes = _gradients((picture + brought) / 2) * pixel
                squares = torch.cat([slopes * slopes, slopes[:, :1] * slopes[:, 1:]], dim=1)
                xx, yy, xy = _windowed(squares).split(1, 1)
                more = _STILL + 0.02 * (xx + yy)
                xx, yy = xx + more, yy + more
                determinant = xx * yy - xy * xy
                ends, across = torch.cat([yy, xx], dim=1) / determinant, xy / determinant
            pull = _windowed(slopes * ((picture - brought) * inside))
            change = ends * pull - across * pull.flip(1)
            flow = blurred(flow + change.clamp(-2, 2) * pixel)
    brought, inside = _sampled(then[0], base + flow)
    unmoved, _ = _sampled(then[0], base)
    parallax = (fitted[:, :2, 2:3] - by_camera * fitted[:, 2:, 2:3]) / z
    return Left(
        flow=flow * _PIXELS,
        known=determinant / (xx + yy),
        unexplained=(now[0] - brought).abs(),
        unmoved=(now[0] - unmoved).abs(),
        inside=inside,
        parallax=parallax.unflatten(2, now[0].shape[-2:]) * _PIXELS,
    )


def inverted(matrix: Tensor) -> Tensor:
    """Inverses of [n, k, k] by Gauss-Jordan without pivots: a damped normal matrix of a diagonal of 1 needs none, and
    any other costs digits. `torch.linalg.inv` has no form in ONNX."""
    size = matrix.shape[1]
    one = torch.eye(size, device=matrix.device)
    rest = torch.cat([matrix, one.expand_as(matrix)], dim=2)
    for i in range(size):
        column, rest = rest.split([1, 2 * size - 1 - i], dim=2)
        rest = rest - (column - one[:, i : i + 1]) * (rest[:, i : i + 1] / column[:, i : i + 1])
    return rest


def blurred(maps: Tensor) -> Tensor:
    """Means [n, C, h, w] of three by three places, edges repeated."""
    return _smoothed(F.pad(maps, (1,) * 4, mode="replicate"), _BLUR)


def halved(maps: Tensor) -> Tensor:
    """Maps [n, C, h, w] at half their size, rounded up: means of two by two places where it is even."""
    rows, columns = maps.shape[-2:]
    return F.interpolate(maps, (-(-rows // 2), -(-columns // 2)), mode="bilinear", align_corners=False)


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps [n, C, h, w] at the height and width of others."""
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)


def _weighed(off: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """How far brightness is off, and what that counts for by how usual it is (Geman & McClure 1987): [n, 1, h · w]."""
    size = off.abs()
    usual = (size * inside).mean((2, 3), keepdim=True) / (inside.mean((2, 3), keepdim=True) + 1e-6)
    unusual = size / (usual + _TOLERANCE)
    return off.flatten(2), (inside / (1 + unusual * unusual)).flatten(2)


def _slopes(picture: Tensor, places: Tensor, z: Tensor, basis: Tensor) -> Tensor:
    """How each of the numbers changes brightness, [n, 11, h · w]."""
    flat = _gradients(picture).flatten(2) / z
    flat = torch.cat([flat, -(flat * places).sum(dim=1, keepdim=True)], dim=1)
    return (flat[:, :, None] * basis[:, None]).flatten(1, 2)[:, :_PARAMETERS]


def _inverse(slopes: Tensor, weight: Tensor) -> Tensor:
    """Of the damped normal matrix [n, 11, 11] of slopes [n, 11, places]."""
    matrix = (slopes * weight) @ slopes.transpose(1, 2)
    one = torch.eye(_PARAMETERS, device=matrix.device)
    own = (matrix * one).sum(dim=2, keepdim=True)
    more = own * _DAMPING + _FLOOR * own.mean(dim=1, keepdim=True) + 1e-9
    scale = (own + more).rsqrt()
    scale = scale * scale.transpose(1, 2)  # to a diagonal of 1
    return inverted((matrix + one * more) * scale) * scale


def _basis(depth: Tensor) -> Tensor:
    rows, columns = depth.shape[-2:]
    x = ((torch.arange(columns, device=depth.device) + 0.5) * 2 / columns - 1).expand(rows, -1).flatten()
    y = ((torch.arange(rows, device=depth.device) + 0.5) * 2 - rows).div(columns)[:, None].expand(-1, columns).flatten()
    flat, still = depth.flatten(2), torch.stack([x, y])[None].expand(len(depth), -1, -1)
    return torch.cat([still, flat, torch.ones_like(flat)], dim=1)


def _places(fitted: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Where places come to lie, [n, 2, h · w], and their z there, [n, 1, h · w]."""
    moved = fitted @ basis
    z = moved[:, 2:].clamp_min(0.2)
    return moved[:, :2] / z, z


def _sampled(picture: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The picture [n, 1, h, w] at places [n, 2, h, w], and how far inside of it they are, up to a pixel: 0..1."""
    rows, columns = picture.shape[-2:]
    grid = places * torch.tensor([1.0, columns / rows], device=places.device)[:, None, None]
    pixels = torch.tensor([columns / 2, rows / 2], device=places.device)[:, None, None]
    inside = ((1 - grid.abs()) * pixels - 0.5).amin(dim=1, keepdim=True).clamp(0, 1)
    grid = grid.permute(0, 2, 3, 1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False), inside


def _windowed(maps: Tensor) -> Tensor:
    """Sums [n, C, h, w] over windows, of what lies in the picture. (Edges repeated so far out build no engine of
    TensorRT-RTX 1.7.)"""
    return _smoothed(maps, _WINDOW, len(_WINDOW) // 2)


def _smoothed(maps: Tensor, taps: Sequence[float], around: int = 0) -> Tensor:
    """Maps [n, C, h, w] weighed by taps down and across, with so many zeros around them."""
    channels = maps.shape[1]
    kernel = (torch.tensor(taps, device=maps.device) / sum(taps)).expand(channels, 1, 1, -1)
    down = F.conv2d(maps, kernel.transpose(2, 3), padding=(around, 0), groups=channels)
    return F.conv2d(down, kernel, padding=(0, around), groups=channels)


def _gradients(picture: Tensor) -> Tensor:
    """Across and down [n, 2, h, w], per half width, of a picture [n, 1, h, w]."""
    step = torch.tensor([[-1.0, 0, 1]], device=picture.device) * (picture.shape[-1] / 4)
    kernels = torch.stack([F.pad(step, (0, 0, 1, 1)), F.pad(step.T, (1, 1, 0, 0))])[:, None]
    return F.conv2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), kernels)
