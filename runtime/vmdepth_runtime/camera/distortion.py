"""How a camera bends straight lines."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vmdepth_runtime.errors import InputError

Model: TypeAlias = Literal["plumb_bob", "rational_polynomial", "equidistant"]

# As ROS, OpenCV, Kalibr, ORB-SLAM and RealSense call them, in lower case and without what is no letter or number.
_NAMES: dict[str, Model] = {
    "plumbbob": "plumb_bob",
    "radtan": "plumb_bob",
    "brownconrady": "plumb_bob",
    "rationalpolynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "equi": "equidistant",
    "fisheye": "equidistant",
    "kannalabrandt": "equidistant",
    "kannalabrandt4": "equidistant",
    "kannalabrandt8": "equidistant",
}
_COUNTS: dict[Model, tuple[int, ...]] = {"plumb_bob": (5,), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True)
class Distortion:
    """A model of distortion as ROS and OpenCV name it, and its numbers.

    Attributes:
        model: "plumb_bob" (k1, k2, p1, p2, k3), "rational_polynomial" (k1, k2, p1, p2, k3, k4, k5, k6, and OpenCV's
            thin prism s1 to s4 and tilt), both of cameras that are pinholes but for it; or "equidistant" (k1, k2, k3,
            k4), of a fisheye (Kannala & Brandt 2006).
        coefficients: in that order, as OpenCV takes them.
    """

    model: Model
    coefficients: tuple[float, ...]

    @classmethod
    def of(cls, name: str, coefficients: Sequence[float], whose: str) -> Distortion | None:
        """The model of a name, as calibrations and messages of ROS say it.

        Args:
            name: as ROS, OpenCV, Kalibr or ORB-SLAM write it; empty is OpenCV's own, for which the number of
                coefficients is enough.
            coefficients: in the model's order; zeros at the end may be left out, and there may be more of them.
            whose: what says it, for errors.

        Returns:
            The distortion; None where nothing is bent.

        Raises:
            InputError: it is none of those above, or has other coefficients.
        """
        numbers = [float(number) for number in coefficients]
        while numbers and numbers[-1] == 0:
            numbers.pop()
        if name.lower() == "none" or not (name or numbers):
            return None
        model = cls.named(name)
        if model is None:
            raise InputError(
                f"{whose}: has the distortion model '{name}'; known are plumb_bob (radtan), rational_polynomial and "
                "equidistant (fisheye); calibrate the camera with one of those"
            )
        if model == "plumb_bob" and len(numbers) > 5:
            model = "rational_polynomial"  # the same formula, with a denominator
        room = next((count for count in _COUNTS[model] if count >= len(numbers)), None)
        if room is None or not all(map(math.isfinite, numbers)):
            told = ", ".join(f"{number:g}" for number in coefficients)
            raise InputError(f"{whose}: {model} has {_COUNTS[model][-1]} finite coefficients at most, not {told}")
        if not numbers and model != "equidistant":
            return None
        return cls(model, tuple(numbers + [0.0] * (room - len(numbers))))

    @staticmethod
    def named(name: str) -> Model | None:
        """The model that a name stands for; None where that is not known."""
        return _NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()) or "plumbbob")
