"""What a check gives, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal["passes", "fails", "no device", "left out"]


class LeftOut(Exception):
    """A check cannot be made here; says what is missing, and how to get it."""


@dataclass(frozen=True)
class Seen:
    """What one check saw.

    Attributes:
        told: in a line, for people.
        wrong: what is not as promised; empty where all is.
        figures: what was measured, as JSON can hold it.
    """

    told: str
    wrong: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    Attributes:
        name: of the check, in a few words.
        what: is checked.
        promised: in a few words; empty where it is only measured.
        status: whether it is so.
        told: what was seen, what is wrong or why nothing was seen, in a line.
        seconds: that it took.
        figures: what was measured.
    """

    name: str
    what: str
    promised: str
    status: Status
    told: str
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """Percentiles of times, as reports have them."""
    import numpy as np

    return {f"p{share}": round(float(np.percentile(milliseconds, share)), 3) for share in (50, 99)}
