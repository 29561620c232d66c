"""Fits of one depth to another by scale and shift, or by one factor alone: least squares, gathered batch by batch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating]
Alignment = Literal["none", "scale", "scale and shift"]


class FitMoments:
    """Gathers pairs of numbers, to fit the second by the first.

    Chan et al. 1979: means and sums of squares about them, merged batch by batch, lose no digits to large means.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = np.zeros(2)
        self._spread = np.zeros(2)  # Σ (x − x̄)², Σ (x − x̄)(y − ȳ)

    def add(self, x: Map, y: Map) -> None:
        """Take in as many x as y, of any shape."""
        if not x.size:
            return
        pair = np.stack([x.ravel(), y.ravel()]).astype(np.float64)
        mean = pair.mean(axis=1)
        off, count = mean - self._mean, self._count + x.size
        pair -= mean[:, None]
        self._spread += pair @ pair[0] + off * off[0] * (self._count * x.size / count)
        self._mean += off * (x.size / count)
        self._count = count

    def fit(self, alignment: Alignment = "scale and shift") -> tuple[float, float]:
        """Scale a and shift b that minimise Σ (a·x + b − y)², as far as the alignment leaves them open.

        A constant x gets a = 0 where the shift is open. Raises ValueError when nothing was gathered.
        """
        if not self._count:
            raise ValueError("no pixel of known depth")
        if alignment == "none":
            return 1.0, 0.0
        if alignment == "scale":
            squares, products = self._spread + self._count * self._mean * self._mean[0]
            return (float(products / squares) if squares > 0 else 0.0), 0.0
        scale = float(self._spread[1] / self._spread[0]) if self._spread[0] > 1e-12 * self._count else 0.0
        return scale, float(self._mean[1] - scale * self._mean[0])


def fit_affine(inverse: Map, truth: Map) -> tuple[float, float]:
    """The scale a and shift b that minimise Σ (a·inverse + b − truth)² (least squares, as in MiDaS).

    A constant `inverse` gets a = 0 and b = mean of truth.
    """
    moments = FitMoments()
    moments.add(inverse, truth)
    return moments.fit()
