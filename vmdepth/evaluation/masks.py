"""How right masks of moving things are: what they share with the true ones, of what either has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """Pixels of some frames: said to move and moving, either of both, moving, all."""

    both: int
    either: int
    true: int
    pixels: int


@dataclass(frozen=True)
class MaskScore:
    """Of masks over some clips. None: of no such clip, or no pixel.

    iou: all pixels of all clips together, so false alarms where nothing moves count; None where nothing moves in any,
    as no mask then shares anything with the truth. moving_iou: the same of the clips
    in which something moves; clip_iou: the mean of their own. false_share: of the pixels of the clips in which nothing
    moves, what was said to move. threshold: that soft maps were cut at; None where maps are masks already.
    """

    iou: float | None
    moving_iou: float | None
    clip_iou: float | None
    false_share: float | None
    threshold: float | None = None


def overlap(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> Overlap:
    """Of masks, bool, of one shape."""
    both, either, moving = (int(np.count_nonzero(mask)) for mask in (said & true, said | true, true))
    return Overlap(both, either, moving, true.size)


def added(overlaps: Sequence[Overlap]) -> Overlap | None:
    """Of all their frames together; None of none."""
    if not overlaps:
        return None
    counts = ((one.both, one.either, one.true, one.pixels) for one in overlaps)
    return Overlap(*map(sum, zip(*counts, strict=True)))


def scored(overlaps: Sequence[Overlap], threshold: float | None = None) -> MaskScore:
    """The score of several clips. threshold: that soft maps were cut at, where they were."""
    moving = [one for one in overlaps if one.true]
    still = [one for one in overlaps if not one.true]
    return MaskScore(
        _ratio(overlaps, "both", "either") if moving else None,
        _ratio(moving, "both", "either"),
        float(np.mean([one.both / one.either for one in moving])) if moving else None,
        _ratio(still, "either", "pixels"),
        threshold,
    )


def _ratio(overlaps: Sequence[Overlap], part: str, whole: str) -> float | None:
    total = sum(getattr(one, whole) for one in overlaps)
    return sum(getattr(one, part) for one in overlaps) / total if total else None
