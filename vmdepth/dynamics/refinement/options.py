"""What refinement goes by: the constants of VGGT4D's released code, unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vmdepth_runtime.errors import InputError

How = Literal["residual", "gradient"]

THRESHOLDS: dict[How, float] = {"residual": 0.1, "gradient": 0.02}
"""Losses above which a cluster moves."""

WIDTH = 518
"""Pixels that pictures of the released code are wide, which its `CLOSE` and `GROW` are meant for."""

CLOSE, GROW = 5, 3

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
        close: pixels that the ellipse is wide which closes holes of the mask; 0 or 1 closes none. None is by the
            pictures' width (`by_width`): 5, as released, of pictures 518 wide.
        grow: pixels that the square is wide by which the mask grows then; 0 or 1 grows none. None is likewise: 3, as
            released, of pictures 518 wide.
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
    close: int | None = None
    grow: int | None = None
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

    def at_width(self, width: int) -> tuple[int, int]:
        """Pixels by which masks of pictures so wide are closed, and by which they grow."""
        close = by_width(CLOSE, width) if self.close is None else self.close
        return close, by_width(GROW, width) if self.grow is None else self.grow


def by_width(pixels: int, width: int) -> int:
    """What an odd number of pixels of pictures 518 wide or wider is in narrower ones: the nearest odd number."""
    return 2 * int(pixels * min(width, WIDTH) / WIDTH / 2) + 1
