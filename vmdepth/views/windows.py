"""Windows of views, put together: each is asked of the network whole, and aligned with those before it.

What a network says of a window is in a world of its own, at a scale of its own. Windows overlap, and the views that two
have in common show the same points: the similarity that brings the points of the one onto those of the other brings the
whole window there. Nothing here knows where a window comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.views.geometry import Floats, centres, inverse, nearest_rotation, world_points
from vmdepth.views.similarity import Fit, Similarity, distance_ratio, fit_robustly, median_of
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.outputs import SKY_THRESHOLD

_PAIRS = 4000  # points that all views of an overlap give together
_FLAT = 0.75  # share of pixels that are away from the edges of depth, where it lies between near and far

_RAYS = np.array([(x, y, 1.0) for y in (-0.5, 0, 0.5) for x in (-0.5, 0, 0.5)])  # of a camera, within what it sees


@dataclass(frozen=True)
class View:
    """What is said of one view.

    depth: float32 [H, W], larger is farther. confidence: float32 [H, W], ≥ 1, or None. sky: float32 [H, W], from 0.3
    on it is sky, or None. extrinsics: float64 [3, 4], world to camera, and intrinsics: float64 [3, 3], in pixels of
    the depth; both None where nobody knows the camera.
    """

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    sky: NDArray[np.float32] | None = None
    extrinsics: Floats | None = None
    intrinsics: Floats | None = None


@dataclass(frozen=True)
class Seam:
    """How a window joined those before it.

    first, last: places of its views. overlap: how many of them were there before. scale: by which its own was
    multiplied. residual: the median distance between common points afterwards, as a share of their distance from the
    camera; None of the first window, and where cameras were given.
    """

    first: int
    last: int
    overlap: int
    scale: float
    residual: float | None


def spans(views: int, window: int, overlap: int) -> list[range]:
    """Windows of that many views (0: all in one) which overlap by that many at least.

    The last one is as long as the others and overlaps by more, since a short one would know less.
    """
    if window == 0 or views <= window:
        return [range(views)]
    starts = [*range(0, views - window, window - overlap), views - window]
    return [range(start, start + window) for start in starts]


class Chain:
    """Windows in their order, brought to the scale of the first one, into the world that is the first view's camera.

    given: extrinsics [N, 3, 4] of all views, where they are known. Cameras of the result are these then, and a window
    takes no more than its scale from them. seams: how every window joined. scaled: whether given cameras gave a scale,
    as they do unless they all stand at one place.
    """

    def __init__(self, given: Floats | None = None) -> None:
        self.seams: list[Seam] = []
        self.scaled = False
        self._given = given
        self._open: dict[int, View] = {}  # views that a later window may still see
        self._scale = 1.0

    def add(self, first: int, window: list[View], next_first: int) -> Iterator[tuple[int, View]]:
        """Take the next window; give the views that are finished, in their order, each with its place.

        Args:
            first: the place of the window's first view.
            window: its views.
            next_first: the place where the window after it begins; the number of all views after the last.

        Raises:
            WorkError: it cannot be aligned.
        """
        last = first + len(window) - 1
        common = [place for place in range(first, last + 1) if place in self._open]
        similarity, residual = self._aligned(first, window, common)
        self.seams.append(Seam(first, last, len(common), similarity.scale, residual))
        for place, view in enumerate(window, first):
            moved = self._moved(place, view, similarity)
            if place in common:
                moved = blend(self._open[place], moved, (place - first + 1) / (len(common) + 1))
            self._open[place] = moved
        for place in [place for place in self._open if place < next_first]:
            yield place, self._open.pop(place)

    def _aligned(self, first: int, window: list[View], common: list[int]) -> tuple[Similarity, float | None]:
        if self._given is not None:
            return self._to_given(first, window), None
        camera = window[0].extrinsics
        if camera is None:  # views that have nothing to do with each other
            return Similarity(1.0, np.eye(3), np.zeros(3)), None
        if not self.seams:
            return Similarity(1.0, camera[:, :3], camera[:, 3]), None
        fit = align([self._open[place] for place in common], [window[place - first] for place in common])
        if fit is None:
            raise WorkError(
                f"views {first + 1} to {first + len(window)} cannot be aligned with those before: the {len(common)} "
                "views they have in common show too little; try a larger --overlap, or --window 0 with --memory-budget"
            )
        return fit.similarity, fit.residual

    def _to_given(self, first: int, window: list[View]) -> Similarity:
        """The scale alone: cameras are the given ones, and where they stand at one place, the last scale holds."""
        assert self._given is not None
        own = [view.extrinsics for view in window if view.extrinsics is not None]
        if len(own) == len(window):
            there = centres(self._given[first : first + len(window)])
            ratio = distance_ratio(centres(np.stack(own)), there)
            self.scaled = self.scaled or ratio is not None
            self._scale = ratio or self._scale
        return Similarity(self._scale, np.eye(3), np.zeros(3))

    def _moved(self, place: int, view: View, similarity: Similarity) -> View:
        if self._given is not None:
            return replace(view, depth=view.depth * np.float32(similarity.scale), extrinsics=self._given[place])
        if view.extrinsics is None:
            return view
        return replace(
            view, depth=view.depth * np.float32(similarity.scale), extrinsics=similarity.cameras(view.extrinsics)
        )


def align(targets: list[View], sources: list[View]) -> Fit | None:
    """The similarity from the world of `sources` to that of `targets`, which are the same views.

    The scale is the median ratio of their depths. Points of the same pixels are pairs, as sure as the less sure of
    their two depths; pixels of sky, at edges of depth and without depth give none. Where the cameras stand and look
    counts as much again, by rays of the length of the view's median distance, since depth that is off by the same in
    large parts of a picture tilts its points. None where there are too few pairs.
    """
    views = list(zip(targets, sources, strict=True))
    pixels = [_pixels(*pair, _PAIRS // len(views)) for pair in views]
    sureness = [_sureness(*pair, *places) for pair, places in zip(views, pixels, strict=True)]
    depths = [(t.depth[places], s.depth[places]) for (t, s), places in zip(views, pixels, strict=True)]
    ratios = np.concatenate([there.astype(np.float64) / here for there, here in depths])
    if len(ratios) < 3:
        return None
    scale = median_of(ratios, np.concatenate(sureness))
    pairs: list[tuple[Floats, Floats, Floats, Floats]] = []
    for (target, source), places, sure in zip(views, pixels, sureness, strict=True):
        if len(sure):
            here, there = _points(source, places), _points(target, places)
            distance = np.linalg.norm(there - centres(_camera(target)), axis=-1)
            pairs.append((here, there, distance, sure))
            reach = float(np.median(distance))
            rays = np.full(len(_RAYS), reach)
            pairs.append(
                (_rays(source, reach / scale), _rays(target, reach), rays, np.full(len(_RAYS), sure.sum() / len(_RAYS)))
            )
    here, there, distance, sure = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return fit_robustly(here, there, scale, distance, sure)


def _pixels(target: View, source: View, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of so many pixels at most, spread over those where both depths are a surface's."""
    rows, columns = np.nonzero(_clear(target) & _clear(source))
    chosen = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.intp)
    return rows[chosen], columns[chosen]


def _sureness(target: View, source: View, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Floats:
    if target.confidence is None or source.confidence is None:
        return np.ones(len(rows))
    # Confidence begins at 1, which is no confidence at all.
    return np.minimum(target.confidence, source.confidence)[rows, columns].astype(np.float64) - 1 + 1e-3


def _points(view: View, places: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Floats:
    assert view.intrinsics is not None
    return world_points(view.depth, view.intrinsics, _camera(view), *places)


def _rays(view: View, reach: float) -> Floats:
    """The ends of the camera's rays, in the world."""
    to_world = inverse(_camera(view))
    return reach * _RAYS @ to_world[:, :3].T + to_world[:, 3]


def _camera(view: View) -> Floats:
    assert view.extrinsics is not None
    return view.extrinsics


def _clear(view: View) -> NDArray[np.bool_]:
    """Where a depth is one of a surface: finite, above 0, no sky, and among the flatter three quarters of those."""
    depth = view.depth
    clear = np.isfinite(depth) & (depth > 0)
    if view.sky is not None:
        clear &= view.sky < SKY_THRESHOLD
    if not clear.any():
        return clear
    logarithm = np.log(np.where(clear, depth, depth[clear].max()))
    window = np.ones((3, 3), np.uint8)
    steepness = cv2.dilate(logarithm, window) - cv2.erode(logarithm, window)
    return clear & (steepness <= np.quantile(steepness[clear], _FLAT))


def blend(before: View, after: View, share: float) -> View:
    """A view that two windows saw, in one world: from 0, which is `before`, to 1, `after`."""

    def mixed(one: NDArray[Any] | None, other: NDArray[Any] | None) -> Any:
        return None if one is None or other is None else ((1 - share) * one + share * other).astype(one.dtype)

    return View(
        mixed(before.depth, after.depth),
        mixed(before.confidence, after.confidence),
        mixed(before.sky, after.sky),
        _between(before.extrinsics, after.extrinsics, share),
        mixed(before.intrinsics, after.intrinsics),
    )


def _between(before: Floats | None, after: Floats | None, share: float) -> Floats | None:
    """A camera between two that hardly differ: the mean of their places, and the rotation nearest to the mean."""
    if before is None or after is None:
        return None
    one, other = inverse(before), inverse(after)
    mean = (1 - share) * one + share * other
    return inverse(np.concatenate([nearest_rotation(mean[:, :3]), mean[:, 3:]], axis=1))
