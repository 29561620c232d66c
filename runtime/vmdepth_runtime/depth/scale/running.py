"""Metres of a stream that depth is measured beside, now and then: scale and shift follow what was measured lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.depth.scale.fit import FitErrors, NoFit, fit_errors, fit_metres, some_points
from vmdepth_runtime.depth.scale.metres import Metres
from vmdepth_runtime.depth.scale.nearest import APART, Nearest
from vmdepth_runtime.depth.scale.shapes import check_shapes
from vmdepth_runtime.depth_kinds import DepthKind

_REMEMBERED = 10  # measurements that a fit is made from, the latest: a second of most LiDARs
_POINTS = 400  # of each at most


class RunningMetres:
    """Fits depth of a stream to measurements of the same camera, and keeps to that between them.

    A measurement belongs to the frame next to it in time (`Nearest`). Every one makes a new fit (`fit_metres`) of what
    the last ten measured, which smooths it and lets sparse ones be enough together. Where none can be made the one
    before stays.

    Args:
        measured: stamps, nanoseconds since 1970, and depth float32 `[H, W]` in metres, of the stream's camera from edge
            to edge of its frames; unknown is what is not finite or ≤ 0. In order, taken as they are needed.
        kind: of the stream's depth, one without a unit.
        name: of what measured, for people.
        damage: says what of it could not be read; empty where all could.

    Attributes:
        fits: how many were made.
        without: frames before the first.
        damage: as given.
        refused: why the latest measurement that made none did not; empty where all did.
    """

    def __init__(
        self,
        measured: Iterator[tuple[int, NDArray[np.float32]]],
        kind: DepthKind,
        name: str,
        damage: Callable[[], str] = str,
    ) -> None:
        self.fits = self.without = 0
        self.refused = ""
        self.damage = damage
        self._nearest = Nearest(measured)
        self._kind, self._name = kind, name
        self._points: deque[tuple[NDArray[np.float32], NDArray[np.float32]]] = deque(maxlen=_REMEMBERED)
        self._random = np.random.default_rng(0)
        self._metres: Metres | None = None
        self._errors: FitErrors | None = None

    def at(self, depth: NDArray[np.float32], stamp: int | None, size: tuple[int, ...] | None = None) -> Metres | None:
        """What makes metres of a frame.

        Args:
            depth: float32 `[h, w]`, of the network, for this frame.
            stamp: when the camera took it; None where nobody says, which no measurement belongs to.
            size: height and width of it as the camera gave it; None where nobody says.

        Returns:
            The latest fit; None before the first.

        Raises:
            InputError: what was measured is of another shape.
        """
        measured = None if stamp is None else self._nearest.at(stamp)
        if measured is not None:
            if size is not None:
                check_shapes(measured.shape, size, f"--align-to {self._name}")
            points = some_points(_at_places(depth, measured.shape), measured, _POINTS, self._random)
            if len(points[0]):
                self._points.append(points)
                self._fit()
        self.without += self._metres is None
        return self._metres

    def restart(self) -> None:
        """What comes next has nothing to do with what came before: its own measurements alone make the next fit."""
        self._points.clear()

    @property
    def warning(self) -> str:
        """A line on what has gone wrong so far; empty where nothing has."""
        if self.fits == 0:
            why = self.refused or f"it measured nothing within {APART // 1_000_000} ms of a frame"
            return f"{self._name} makes no metres: {why}"
        if self.without:
            frames = "1 frame has" if self.without == 1 else f"{self.without} frames have"
            return f"{frames} no depth: {self._name} had measured too little until then"
        return ""

    @property
    def warnings(self) -> list[str]:
        """That line, and one on what of the measurements could not be read, where there is anything to say."""
        return [line for line in (self.warning, self.damage()) if line]

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "fits": self.fits,
            "frames_without": self.without,
            "refused": self.refused,
            "metres": None if self._metres is None else str(self._metres),
            "median_error": None if self._errors is None else round(self._errors.median, 5),
        }

    def _fit(self) -> None:
        depth, measured = (np.concatenate(side) for side in zip(*self._points, strict=True))
        try:
            self._metres = fit_metres(depth, measured, self._kind)
        except NoFit as error:
            self.refused = str(error)
            return
        self._errors = fit_errors(self._metres, depth, measured)
        self.fits += 1


def _at_places(depth: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map at the size of another that shows the same, bilinear along the centres of pixels."""
    return np.asarray(cv2.resize(depth, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
