"""What is asked of the first pass of a network over a video, and what it found: all that methods of masks know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError

Pair = Literal["QQ", "KK", "QK"]
Kind = Literal["similarity", "variance"]
Reach = Literal["window", "near", "past", "all"]
Letter = Literal["Q", "K"]  # queries, keys: what a `Pair` is made of

Floats: TypeAlias = NDArray[np.float32]

LEAST_FRAMES = 4
"""Frames of a video that window statistics take: of three, the middle one would meet no other."""


@dataclass(frozen=True)
class Statistic:
    """One raw map per frame: what queries or keys of a patch score against those of other frames.

    Attributes:
        pair: what meets what: queries with queries, keys with keys, queries with keys.
        kind: the mean of the scores, or how far they spread.
        layers: blocks, from 0, whose scores are averaged.
        reach: which frames are met, and how. "window": the released code's statistics: frames t ± 2, 4, 6, scores
            averaged over layers, heads and frames, and then the mean or the *standard deviation* over places. The rest
            are per head: of every head and layer alone the mean (of scores over √d) or variance (over d) over
            all places of all frames that are met, averaged then: "near" t ± 2 with t itself, "past" 0 to t, "all" every
            frame of the video.

    Raises:
        InputError: no block, or one twice: every block is seen once.
    """

    pair: Pair
    kind: Kind
    layers: tuple[int, ...]
    reach: Reach

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise InputError(f"statistic {self.name}: names blocks, each of them once")

    @property
    def name(self) -> str:
        """Its name in files, as "window/variance/QK/0" or "all/similarity/QQ/5+7"."""
        return f"{self.reach}/{self.kind}/{self.pair}/{'+'.join(map(str, self.layers))}"


@dataclass(frozen=True)
class Sums:
    """What a whole video's queries or keys of one block add up to: `statistics.Moments` as arrays.

    Attributes:
        count: how many vectors: frames × patches.
        mean: of them, of every head, float64 [heads, d].
        scatter: sum of (y − mean)(y − mean)ᵀ, float64 [heads, d, d]; their covariance times count − 1.
    """

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


@dataclass(frozen=True)
class FirstPass:
    """T frames as a network saw them, the h × w patches of each, and what it said.

    Attributes:
        images: uint8 [T, H, W, 3], RGB, as the network saw them.
        raw: of every statistic that was asked for, float32 [T, h, w], not normalised.
        features: float32 [T, h, w, C]: what clusters of patches are made by.
        depth: float32 [T, H, W], as the network means it.
        inverse: whether larger depth is nearer.
        extrinsics: float64 [T, 3, 4], world to camera; None from a network that tells no cameras.
        intrinsics: float64 [T, 3, 3], in pixels of `images`; likewise.
        reference: the view that the others were told to refer to; None from a network whose views do not meet.
        sums: by block and letter, of the queries or keys that statistics of reach "all" met; none where there were no
            such statistics.
    """

    images: NDArray[np.uint8]
    raw: Mapping[Statistic, Floats]
    features: Floats
    depth: Floats
    inverse: bool
    extrinsics: NDArray[np.float64] | None = None
    intrinsics: NDArray[np.float64] | None = None
    reference: int | None = None
    sums: Mapping[tuple[int, Letter], Sums] = field(default_factory=dict)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.features.shape[1], self.features.shape[2]
