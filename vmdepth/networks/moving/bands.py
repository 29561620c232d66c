"""Which blocks of an encoder tell of moving things: VGGT4D's, carried over by relative depth."""

from __future__ import annotations

from dataclasses import dataclass

from vmdepth.networks.encoder import Encoder
from vmdepth.networks.multiview.encoder import ViewEncoder

Band = tuple[int, ...]

_PAIRS = 24  # blocks of VGGT that see all views, which the numbers below count
_SHALLOW, _MIDDLE, _DEEP, _DEEP_VARIANCE = (0, 0), (3, 7), (17, 21), (18, 19)  # first and last, of the released code


@dataclass(frozen=True)
class Bands:
    """Blocks, from 0. shallow: of similarity KK and variance QK; middle, deep: of similarity QQ; deep_variance: of
    variance QQ."""

    shallow: Band
    middle: Band
    deep: Band
    deep_variance: Band

    @property
    def of_queries(self) -> Band:
        """The blocks whose queries are remembered."""
        return tuple(sorted({*self.middle, *self.deep, *self.deep_variance}))

    @property
    def watched(self) -> Band:
        """All of them."""
        return tuple(sorted({*self.shallow, *self.of_queries}))


def bands_of(encoder: Encoder) -> Bands:
    """Of the n blocks that see all views, or of all where views never meet, VGGT's block i of 24 is the
    (i · n / 24)th, rounded. Whether depths that suit one network suit another is a guess to be measured.
    """
    blocks = encoder.global_blocks if isinstance(encoder, ViewEncoder) else list(range(len(encoder.blocks)))

    def place(pair: int) -> int:
        return min(int(pair * len(blocks) / _PAIRS + 0.5), len(blocks) - 1)

    def band(pairs: tuple[int, int]) -> Band:
        first, last = pairs
        return tuple(blocks[place(first) : place(last) + 1])

    return Bands(band(_SHALLOW), band(_MIDDLE), band(_DEEP), band(_DEEP_VARIANCE))
