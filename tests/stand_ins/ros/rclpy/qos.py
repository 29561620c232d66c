"""Quality of service."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class ReliabilityPolicy(IntEnum):
    """With the numbers of rmw."""

    SYSTEM_DEFAULT, RELIABLE, BEST_EFFORT, UNKNOWN = range(4)


class QoSProfile:
    """Its history keeps the last messages."""

    def __init__(self, **kwargs: Any) -> None:
        assert set(kwargs) <= {"depth", "reliability"}, f"Invalid arguments passed to constructor: {kwargs}"
        self.depth = kwargs["depth"]
        self.reliability = kwargs.get("reliability", ReliabilityPolicy.RELIABLE)
        assert isinstance(self.depth, int)
        assert isinstance(self.reliability, ReliabilityPolicy)
