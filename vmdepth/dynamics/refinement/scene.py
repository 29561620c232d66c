"""A clip as refinement takes it: pictures, depth and cameras in one unit, and how its points look from other views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError

Floats = NDArray[np.float64]
_AT_ONCE = 500_000  # samples that are projected at once: some 100 bytes each
_TIE = 1e-6  # pixels

MIDDLE = -0.5
"""Pixels from the middle of the first one to where places in pictures count from."""

BEFORE_SKY = 1.0
"""How far a point that another view does not show, but sky there, counts as before it, in units of the scene."""


@dataclass(frozen=True)
class Scene:
    """T frames whose depth and cameras are in units of the scene, as 1 is the middle of its depth.

    Attributes:
        images: float32, 0..1, or uint8 [T, H, W, 3], RGB.
        depth: float32 [T, H, W], along the optical axis; +inf is sky, NaN unknown.
        moves: bool [T, H, W], the mask to refine.
        to_world: float64 [T, 4, 4].
        to_camera: float64 [T, 4, 4], the inverses.
        intrinsics: float64 [T, 3, 3], pixels, counted from the outer corner of the first one.
    """

    images: NDArray[np.float32] | NDArray[np.uint8]
    depth: NDArray[np.float32]
    moves: NDArray[np.bool_]
    to_world: Floats
    to_camera: Floats
    intrinsics: Floats

    def points(self, frame: int, pixels: NDArray[np.intp]) -> Floats:
        """The places [M, 3] in the world that pixels [M] of a frame (row · W + column) show: of their middles."""
        rows, columns = np.divmod(pixels, self.depth.shape[2])
        middles = np.stack([columns + 0.5, rows + 0.5, np.ones(len(pixels))])
        seen = np.linalg.inv(self.intrinsics[frame]) @ middles * self.depth[frame].ravel()[pixels]
        return (self.to_world[frame, :3, :3] @ seen + self.to_world[frame, :3, 3:]).T

    def colours(self, frame: int, pixels: NDArray[np.intp]) -> Floats:
        """Colours [M, 3], 0..1, of pixels [M] of a frame."""
        return unit(self.images[frame].reshape(-1, 3)[pixels].astype(np.float64), self.images.dtype)

    def others(self, frame: int, every: int) -> int:
        """How many views `projected` goes through."""
        return len(range(0, len(self.depth), every)) - (frame % every == 0)

    def projected(self, frame: int, points: Floats, every: int) -> Iterator[Projected]:
        """Points [M, 3] of a frame as other views see them, some views at a time: all that lie in the picture."""
        height, width = self.depth.shape[1:]
        others = np.array([view for view in range(0, len(self.depth), every) if view != frame])
        step = max(1, _AT_ONCE // max(1, len(points)))
        for start in range(0, len(others), step):
            views = others[start : start + step]
            place = self.to_camera[views, :3, :3] @ points.T + self.to_camera[views, :3, 3:]
            across, down, ahead = (self.intrinsics[views] @ place).swapaxes(0, 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                u, v = across / ahead, down / ahead
            which, number = np.nonzero((u > 0) & (u < width) & (v > 0) & (v < height) & (place[:, 2] > 0))
            yield Projected(views[which], number, u[which, number], v[which, number], place[which, :, number])


@dataclass(frozen=True)
class Projected:
    """N samples: a point in a view.

    Attributes:
        view: [N], its number.
        point: [N], its number.
        u: [N], pixels from the left side of the picture.
        v: [N], pixels from its top.
        place: [N, 3], in the view's camera.
    """

    view: NDArray[np.intp]
    point: NDArray[np.intp]
    u: Floats
    v: Floats
    place: Floats

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Projected:
        return Projected(self.view[chosen], self.point[chosen], self.u[chosen], self.v[chosen], self.place[chosen])


def scene_of(
    images: NDArray[np.uint8] | NDArray[np.float32],
    depth: NDArray[np.floating],
    moves: NDArray[np.bool_],
    cam2world: NDArray[np.floating],
    intrinsics: NDArray[np.floating],
    scale: float | None,
) -> tuple[Scene, float]:
    """The scene in its own unit, and how much depth is 1 in it. See `refine.refine`."""
    frames = depth.shape[0] if depth.ndim == 3 else 0
    shapes = {
        "images": (images.shape, (*depth.shape, 3)),
        "moves": (moves.shape, depth.shape),
        "cam2world": (cam2world.shape, (frames, 4, 4)),
        "intrinsics": (intrinsics.shape, (frames, 3, 3)),
    }
    for name, (is_, should) in shapes.items():
        if is_ != should:
            raise InputError(
                f"refinement: {name} are {'x'.join(map(str, is_))}, and depth of {'x'.join(map(str, depth.shape))} "
                f"wants {'x'.join(map(str, should))}; give arrays of the same frames"
            )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"refinement: images are {images.dtype}, and have to be uint8, or float32 of 0..1")
    if moves.dtype != bool:
        raise InputError(f"refinement: moves are {moves.dtype}, and have to be bool, as mask > 127 of a file is")
    for name, values in (("cam2world", cam2world), ("intrinsics", intrinsics)):
        if not np.isfinite(values).all():
            raise InputError(f"refinement: {name} are not finite; give a camera for every frame")
        singular = np.flatnonzero(np.linalg.matrix_rank(values.astype(np.float64)) < values.shape[1])
        if len(singular):
            raise InputError(f"refinement: {name} of frame {singular[0]} has no inverse; give a camera for every frame")
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise InputError("refinement: no pixel has a depth above 0; give depth along the optical axis")
    unit_of_depth = float(np.median(depth[known])) if scale is None else scale
    if not (np.isfinite(unit_of_depth) and unit_of_depth > 0):
        raise InputError(f"refinement: a scale of {scale} is none; it is the depth that counts as 1, above 0")
    to_world: Floats = np.array(cam2world, np.float64)
    to_world[:, :3, 3] /= unit_of_depth
    scaled = (np.where(known | np.isposinf(depth), depth, np.nan) / unit_of_depth).astype(np.float32)
    to_camera: Floats = np.array(np.linalg.inv(to_world), np.float64)
    return Scene(images, scaled, moves, to_world, to_camera, intrinsics.astype(np.float64)), unit_of_depth


def unit(colours: Floats, dtype: np.dtype) -> Floats:
    """Colours as 0..1, of pictures of bytes or of floats that are that already."""
    return colours / 255.0 if dtype == np.uint8 else colours


def nearest(maps: NDArray[np.float32], at: Projected, shift: float) -> NDArray[np.float32]:
    """The values [N] of maps [T, H, W] at the pixel whose number is nearest to (u, v); 0 beyond the last one.

    What lies right between two belongs to the one it is in, or a camera that stands still would see by rounding errors;
    the released code leaves it to them.

    Args:
        maps: of anything.
        at: where.
        shift: pixels from the middle of the first one to where u and v count from: −0.5; the released code has 0.
    """
    height, width = maps.shape[1:]
    column, row = (np.rint(place + shift - _TIE).astype(np.intp) for place in (at.u, at.v))
    inside = (column < width) & (row < height)
    return np.where(inside, maps[at.view, row.clip(0, height - 1), column.clip(0, width - 1)], 0)


def bilinear(maps: NDArray[np.generic], at: Projected, shift: float) -> Floats:
    """The values [N] or [N, C] of maps [T, H, W] or [T, H, W, C] about (u, v).

    Args:
        maps: of anything that is a number.
        at: where.
        shift: as of `nearest`. With 0 what lies beyond the picture is 0, as the released code has it; with −0.5 the rim
            goes on.
    """
    height, width = maps.shape[1:3]
    column, row = at.u + shift, at.v + shift
    left, top = np.floor(column).astype(np.intp), np.floor(row).astype(np.intp)
    across, down = column - left, row - top
    value = np.zeros((len(at.u), *maps.shape[3:]))
    for y, high in ((top, 1 - down), (top + 1, down)):
        for x, wide in ((left, 1 - across), (left + 1, across)):
            inside = (x < width) & (y < height)
            weight = np.where(inside | (shift < 0), high * wide, 0.0).reshape(-1, *[1] * (value.ndim - 1))
            value += weight * maps[at.view, y.clip(0, height - 1), x.clip(0, width - 1)]
    return value
