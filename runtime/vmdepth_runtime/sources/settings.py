"""What can be chosen about sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveSettings:
    """How a live source is held on to.

    Attributes:
        retries: How often in a row it is opened again; None: for ever.
        max_gap: Seconds without a frame after which the stream starts anew.
        stall: Seconds without a frame after which it counts as lost.
    """

    retries: int | None = None
    max_gap: float = 2.0
    stall: float = 5.0
