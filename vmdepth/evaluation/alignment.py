"""What of a prediction is fitted to the truth before the two are compared: what its kind leaves open, and no more."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vmdepth.fitting import Alignment, FitMoments, Map
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind

METRES = DEPTH_KINDS["metric"]
_NEAREST = 1e-3
"""What lies nearer counts as this far: metres, or shares of the picture's median depth where that has no unit."""


def alignment_of(kind: DepthKind, truth: DepthKind = METRES) -> Alignment:
    """What is fitted of a prediction: whatever its kind, or that of the truth, leaves open."""
    if kind.shifted or truth.shifted:
        return "scale and shift"
    return "scale" if kind.unit is None or truth.unit is None else "none"


def inverse_of(depth: NDArray[np.float32], kind: DepthKind) -> NDArray[np.float32]:
    """Depth of any kind [H, W] as inverse depth: itself where it is that, else 1/depth, in 1/m of metric depth."""
    if kind.inverse:
        return depth
    nearest = _NEAREST if kind.unit else max(_NEAREST * float(np.median(depth)), 1e-12)
    return np.float32(1) / np.maximum(depth, np.float32(nearest))


def fit_maps(
    inverses: Iterable[Map], depths: Iterable[Map], alignment: Alignment = "scale and shift"
) -> tuple[float, float]:
    """Scale and shift, least squares in inverse depth over the pixels of known depth of maps [H, W].

    inverses: predicted inverse depth. depths: true depth; unknown is what is not finite or ≤ 0. alignment: what of the
    two is open. Raises ValueError when no depth is known.
    """
    moments = FitMoments()
    for inverse, depth in zip(inverses, depths, strict=True):
        known = np.isfinite(depth) & (depth > 0)
        moments.add(inverse[known], 1 / depth[known])
    return moments.fit(alignment)
