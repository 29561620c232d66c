"""Methods and extents by name, and every number by which maps become masks. Imports nothing heavy: commands read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vmdepth_runtime.errors import InputError

Method = Literal["published", "cross", "fused", "full", "guided"]
METHODS: tuple[Method, ...] = get_args(Method)

WINDOWED: tuple[Method, ...] = ("published", "full")
"""Methods of the released code's window statistics; the others take the global ones."""


Extent = Literal["early", "first_eight"]
"""Where a second pass leaves out what moves; `second_pass.masked_blocks` says which blocks these are."""
EXTENTS: tuple[Extent, ...] = get_args(Extent)


@dataclass(frozen=True)
class MaskStages:
    """How maps become masks; what is 0 or off leaves its stage out.

    Attributes:
        clusters: of patches that look alike, whose mean each of them gets (published, full); 0: every patch its own.
        seed: of the clusters.
        threshold: what moves lies above, in 0..1; None: multi-Otsu (published, full), 0.5 (cross, fused),
            hysteresis (guided).
        high: of the hysteresis: what lies above it moves.
        low: of the hysteresis: what lies above it and hangs together with what lies above `high` moves, too.
        guide_radius: of the guided filter's windows, pixels (guided); 0: no guided filter.
        guide_softness: of the guided filter: fainter edges of the guides, in their range squared, are smoothed over.
        smooth_frames: frames on either side that a Gaussian takes in (guided); 0: every frame alone.
        allow_empty: whether nothing may move in a frame. As released every frame is normalised by itself, so that in
            each something moves. Allowed to be empty, maps are normalised over the whole clip, and nothing moves in a
            frame whose picture rests: from t − 6 to t + 6 no patch's mean colour changes by more than 3 of 255.

    Raises:
        InputError: values that cannot be meant.
    """

    clusters: int = 64
    seed: int = 42
    threshold: float | None = None
    high: float = 0.6
    low: float = 0.3
    guide_radius: int = 7  # windows as wide as a patch
    guide_softness: float = 1e-4
    smooth_frames: int = 2
    allow_empty: bool = False

    def __post_init__(self) -> None:
        check_thresholds(self.high, self.low)
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold {self.threshold:g}: maps lie in 0..1")
        if min(self.clusters, self.guide_radius, self.smooth_frames) < 0:
            raise InputError("clusters, radius and frames of a stage: 0 leaves it out, less cannot be")
        if self.guide_softness <= 0:
            raise InputError(f"softness {self.guide_softness:g}: has to be above 0")


def check_thresholds(high: float, low: float) -> None:
    """Raises InputError where they are not 0 ≤ low ≤ high ≤ 1."""
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"thresholds {high:g} and {low:g}: are out of order; the first is the high one, and 0 ≤ low ≤ high ≤ 1"
        )
