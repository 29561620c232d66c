"""What the numbers of a depth map mean: every place that draws, stores, compares or corrects depth asks this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DepthKind:
    """A meaning of depth.

    Attributes:
        name: in the contract.
        inverse: Whether larger is nearer.
        unit: "m", or None for depth up to a factor.
        shifted: Whether an unknown number is added to it as well, as to the inverse depth that networks learn from
            unscaled truth.
        meaning: for people.
    """

    name: str
    inverse: bool
    unit: str | None
    shifted: bool
    meaning: str


DEPTH_KINDS = {
    kind.name: kind
    for kind in (
        DepthKind("relative", True, None, True, "relative inverse depth, larger is nearer"),
        DepthKind("scaled", False, None, False, "depth up to one scale, larger is farther"),
        DepthKind("metric", False, "m", False, "depth in metres, larger is farther"),
    )
}
"""By their names in the contract."""
