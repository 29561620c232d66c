"""Maps of statistics by name, what is made of them, and how they are put between 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from vmdepth.dynamics.first_pass import Floats, Kind, Pair, Reach, Statistic
from vmdepth.networks.moving.bands import Band

MapKind = Literal["similarity", "inv_similarity", "variance", "stability"]
Normalise = Callable[[Floats], Floats]

PAIRS: tuple[Pair, ...] = ("QQ", "KK", "QK")
KINDS: tuple[Kind, ...] = ("similarity", "variance")
MAP_KINDS: dict[MapKind, tuple[Kind, bool]] = {
    "similarity": ("similarity", False),
    "inv_similarity": ("similarity", True),
    "variance": ("variance", False),
    "stability": ("variance", True),
}
"""Maps by their names: S, 1 − S, V and 1 − V; of which statistic each is, and whether it is 1 minus it, normalised."""

EPSILON = 1e-6  # of the released code: what a map that is flat is divided by


def per_frame(x: Floats, epsilon: float = EPSILON) -> Floats:
    """Each frame of x [T, h, w] between its own least and greatest value, as VGGT4D's released code does: flat frames
    become 0, of all others something comes near 1."""
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    return (x - low) / (high - low + np.float32(epsilon))


def whole_clip(x: Floats, low: float = 0.0, high: float = 100.0, epsilon: float = EPSILON) -> Floats:
    """All frames of x [T, h, w] together between two percentiles of theirs, cut at 0 and 1: a frame may stay dark."""
    least, most = np.percentile(x, (low, high)).astype(np.float32)
    return np.clip((x - least) / (most - least + np.float32(epsilon)), 0, 1)


def percentiles_2_98(x: Floats) -> Floats:
    """The whole clip between its percentiles 2 and 98: what the global statistics are normalised by."""
    return whole_clip(x, 2, 98)


def map_of(
    raw: Mapping[Statistic, Floats],
    kind: MapKind,
    pair: Pair,
    layers: Band,
    reach: Reach,
    normalise: Normalise = percentiles_2_98,
) -> Floats:
    """One map by its name, float32 [T, h, w], 0..1.

    1 − S and 1 − V are the negated statistic, normalised: the same to the normalisation's ε, but dark where a map is
    flat, which tells nothing.

    Args:
        raw: of the first pass.
        kind: a name of `MAP_KINDS`.
        pair: what meets what.
        layers: the blocks.
        reach: the frames that are met.
        normalise: `per_frame`, `whole_clip` or another.

    Raises:
        KeyError: the first pass was not asked for its statistic.
    """
    statistic, negated = MAP_KINDS[kind]
    values = raw[Statistic(pair, statistic, layers, reach)]
    return normalise(-values if negated else values)


def statistics_of_band(layers: Band, reach: Reach) -> list[Statistic]:
    """What `maps_of_band` needs."""
    return [Statistic(pair, kind, layers, reach) for pair in PAIRS for kind in KINDS]


def maps_of_band(
    raw: Mapping[Statistic, Floats], layers: Band, reach: Reach, normalise: Normalise = percentiles_2_98
) -> dict[str, Floats]:
    """S, 1 − S, V and 1 − V of QQ, KK and QK of one block or band, by names as "inv_similarity_kk"."""
    return {
        f"{kind}_{pair.lower()}": map_of(raw, kind, pair, layers, reach, normalise)
        for pair in PAIRS
        for kind in MAP_KINDS
    }


def w_shallow(similarity_kk: Floats, variance_qk: Floats) -> Floats:
    """(1 − S^KK) · V^QK, of normalised maps."""
    return (1 - similarity_kk) * variance_qk


def w_middle(similarity_qq: Floats) -> Floats:
    """1 − S^QQ."""
    return 1 - similarity_qq


def w_deep(similarity_qq: Floats, variance_qq: Floats) -> Floats:
    """S^QQ · (1 − V^QQ): large where something *moves*, by VGGT4D's released code, which multiplies it as it is."""
    return similarity_qq * (1 - variance_qq)


def inverted(weight: Floats) -> Floats:
    """1 − w: the fusion of global statistics takes `w_deep` for what stands still, and turns it round."""
    return 1 - weight


def product(shallow: Floats, middle: Floats, deep: Floats) -> Floats:
    """The released fusion: w_shallow · w_middle · w_deep, each frame normalised again by the caller."""
    return shallow * middle * deep


def fused(inv_similarity_qk: Floats, shallow: Floats, middle: Floats, deep: Floats) -> Floats:
    """(1 − S^QK + w_shallow · w_middle · (1 − w_deep)) / 2: the one-pass fusion of global statistics, 0..1."""
    return (inv_similarity_qk + shallow * middle * inverted(deep)) * np.float32(0.5)
