"""Which points of a depth map go into a cloud."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class CloudSettings:
    """Which points of a depth map go into a cloud.

    Attributes:
        max_points: A larger map is thinned out: every second pixel of every second row, or every third, as it takes.
        max_range: What is farther is left out: in the depth's unit, or for relative depth how many times as far as what
            is nearest. None is 20 times for relative depth, and no limit for any other.
        max_jump: Points where depth jumps by more than this share within a 150th of the map's size are left out: there
            a network's soft edge would hang between what is near and what is behind it. 0 keeps them.
        confidence_percentile: Of a network that says how sure it is of each pixel, so many percent of a frame's pixels,
            the least sure, are left out; the default is that of Depth Anything 3's own export. 0 keeps them.
        sky: What is farther than `max_range`, and what the network takes for sky, stands at that distance rather than
            being left out: relative depth says of sky no more than that it is very far.

    Raises:
        InputError: A value that cannot be meant.
    """

    max_points: int = 600_000
    max_range: float | None = None
    max_jump: float = 0.1
    confidence_percentile: float = 40.0
    sky: bool = False

    def __post_init__(self) -> None:
        if self.max_points < 1:
            raise InputError(f"--max-points {self.max_points}: a cloud has at least one")
        if self.max_range is not None and not self.max_range > 0:
            raise InputError(f"--max-range {self.max_range:g}: should be above 0")
        if not self.max_jump >= 0:
            raise InputError(f"--max-jump {self.max_jump:g}: should be a share of the depth, or 0 to leave all in")
        if not 0 <= self.confidence_percentile < 100:
            raise InputError(f"--confidence-percentile {self.confidence_percentile:g}: should be from 0 to below 100")

    def check_range(self, *, inverse: bool) -> None:
        """Raise InputError where sky has no place, or no point would be left. inverse: whether depth is inverse, which
        has a range by itself, and is 1 where it is nearest."""
        if inverse and self.max_range is not None and self.max_range < 1:
            raise InputError(
                f"--max-range {self.max_range:g}: relative depth is 1 where it is nearest; give how many times as far "
                "is still taken, above 1"
            )
        if self.sky and self.max_range is None and not inverse:
            raise InputError(
                "--sky: puts what is very far at --max-range, which has to be given where depth has a unit"
            )
        if self.sky and self.max_range == math.inf:
            raise InputError(f"--sky: puts what is very far at --max-range, and {self.max_range:g} is no place")
