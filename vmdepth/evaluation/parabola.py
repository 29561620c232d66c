"""What depth costs nothing: a parabola in the height of a pixel, fitted to the truth itself, without any picture.

The ground is near below and far above in most pictures. A network that does no better than this has learnt no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vmdepth.evaluation.accuracy import Accuracy, frame_errors, pooled
from vmdepth.fitting import Map


def fit_parabola(heights: Iterable[Map], depths: Iterable[Map]) -> NDArray[np.float64]:
    """The c [3] for which c0 + c1·y + c2·y² is nearest to true inverse depth, least squares over all known pixels.

    heights: y of every pixel [h, w], −1 above to 1 below. depths: true, metres, unknown where not finite or ≤ 0. Raises
    ValueError when no depth is known.
    """
    products, sums = np.zeros((3, 3)), np.zeros(3)
    for height, depth in zip(heights, depths, strict=True):
        known = np.isfinite(depth) & (depth > 0)
        powers = _powers(height[known])
        products += powers @ powers.T
        sums += powers @ (1 / depth[known].astype(np.float64))
    if not products[0, 0]:
        raise ValueError("no pixel of known depth")
    return np.asarray(np.linalg.lstsq(products, sums, rcond=1e-9)[0], np.float64)


def parabola_accuracy(heights: Sequence[Map], depths: Sequence[Map]) -> tuple[Accuracy, list[Accuracy | None]]:
    """Of a sequence: with one parabola for all of its frames, and of every frame with a parabola of its own (None where
    no depth is known)."""
    shared = fit_parabola(heights, depths)
    errors = [_errors(shared, height, depth) for height, depth in zip(heights, depths, strict=True)]
    whole = pooled(np.stack(errors))
    assert whole is not None  # or there would have been no fit
    frames: list[Accuracy | None] = []
    for height, depth in zip(heights, depths, strict=True):
        known = bool((np.isfinite(depth) & (depth > 0)).any())
        frames.append(pooled(_errors(fit_parabola([height], [depth]), height, depth)[None]) if known else None)
    return whole, frames


def _errors(parabola: NDArray[np.float64], height: Map, depth: Map) -> NDArray[np.float64]:
    inverse = np.tensordot(parabola, _powers(height), axes=1)
    return frame_errors(inverse, depth, (1.0, 0.0))


def _powers(height: Map) -> NDArray[np.float64]:
    y = height.astype(np.float64)
    return np.stack([np.ones_like(y), y, y * y])
