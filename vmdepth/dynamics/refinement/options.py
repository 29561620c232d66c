"""What refinement goes by: the constants of VGGT4D's released code, unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vmdepth_runtime.errors import InputError

How = Literal["residual", "gradient"]

THRESHOLDS: dict[How, float] = {"residual": 0.1, "gradient": 0.02}
"""Losses above which a cluster moves."""

UNSEEN = 1e10
"""The loss of a cluster of which other views show too little."""


@dataclass(frozen=True)
class RefineOptions:
    """The constants.

    Attributes:
        neighbours: points, itself among them, that a point's mean distance is taken to; 0 leaves no outlier out.
        spread: standard deviations above the mean from which on that distance makes an outlier.
        clusters: that the points of a frame's mask are put into; fewer where there are fewer points.
        seed: of the clusters.
        visible: how far a point may lie behind what another view sees and still be seen by it; in units of the scene.
        least_seen: share of all samples of a cluster below which nothing is known of it, and it stays.
        threshold: loss above which a cluster moves, in units of the scene; None is that of the way (`THRESHOLDS`).
        colour_weight: of the difference of colours, beside that of depth.
        close: pixels that the ellipse is wide which closes holes of the mask; 0 closes none.
        grow: pixels that the square is wide by which the mask grows then; 0 grows none.
        centred: sample other views at the place of the point; the released code does so half a pixel beside it.
        every: the other views that a frame is compared with are number 0, `every`, 2 · `every` …; 1 is all of them.

    Raises:
        InputError: values that cannot be meant.
    """

    neighbours: int = 20
    spread: float = 2.5
    clusters: int = 30
    seed: int = 42
    visible: float = 0.01
    least_seen: float = 0.05
    threshold: float | None = None
    colour_weight: float = 1 / 3
    close: int = 5
    grow: int = 3
    centred: bool = False
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("clusters", "every"):
            if getattr(self, name) < 1:
                raise InputError(f"refinement: {name}={getattr(self, name)}: is 1 or more")
        for name in ("neighbours", "spread", "visible", "least_seen", "threshold", "colour_weight", "close", "grow"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"refinement: {name}={value}: must not be negative")
