"""A camera without distortion: what makes pixels points."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PinholeCamera:
    """Focal lengths and principal point, in pixels of frames; the middle of the first pixel is (0, 0)."""

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def of_fov(cls, degrees: float, width: int, height: int) -> PinholeCamera:
        """One that looks through the middle of its frames. degrees: how wide they are, above 0 and below 180."""
        focal = width / 2 / math.tan(math.radians(degrees) / 2)
        return cls(focal, focal, (width - 1) / 2, (height - 1) / 2)

    def scaled(self, across: float, down: float) -> PinholeCamera:
        """The camera of the same frames, resized by a factor across and another down."""
        cx, cy = (self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5
        return PinholeCamera(self.fx * across, self.fy * down, cx, cy)
