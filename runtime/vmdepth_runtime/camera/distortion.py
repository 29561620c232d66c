"""How a camera bends straight lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Distortion:
    """A model of distortion as ROS and OpenCV name it, and its numbers.

    Attributes:
        model: "plumb_bob" (k1, k2, p1, p2, k3), "rational_polynomial" (k1, k2, p1, p2, k3, k4, k5, k6), both of
            cameras that are pinholes but for it; or "equidistant" (k1, k2, k3, k4), of a fisheye (Kannala & Brandt
            2006).
        coefficients: in that order, as OpenCV takes them.
    """

    model: Literal["plumb_bob", "rational_polynomial", "equidistant"]
    coefficients: tuple[float, ...]
