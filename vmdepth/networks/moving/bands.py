"""Which blocks of an encoder tell of moving things: VGGT4D's, carried over by relative depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Band = tuple[int, ...]

_PAIRS = 24  # blocks of VGGT that see all views, which the numbers below count
_SHALLOW, _MIDDLE, _DEEP, _DEEP_VARIANCE = (0, 0), (3, 7), (17, 21), (18, 19)  # first and last, of the released code


@dataclass(frozen=True)
class Bands:
    """Blocks, from 0, of the bands in which things that move show.

    shallow: of similarity KK and variance QK; middle, deep: of similarity QQ; deep_variance: of variance QQ, for which
    VGGT4D's released code takes fewer blocks than for the similarity.
    """

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

    def __str__(self) -> str:
        """From shallow to deep, as "9/11+13/21+23"; a fourth is the deep variance's where it has blocks of its own."""
        bands = [self.shallow, self.middle, self.deep]
        if self.deep_variance != self.deep:
            bands.append(self.deep_variance)
        return "/".join("+".join(map(str, band)) for band in bands)


def relative_bands(blocks: Sequence[int]) -> Bands:
    """VGGT's bands among the n blocks of a network that see all views, or all of them where views never meet.

    Pair i of 24 becomes the (i · n / 24)th of them, rounded: of Depth Anything 3 large 9 / 11+13 / 21+23, of giant 13 /
    17+19+21 / 33+35+37. Whether depths that suit one network suit another is a guess to be measured.
    """

    def place(pair: int) -> int:
        return min(int(pair * len(blocks) / _PAIRS + 0.5), len(blocks) - 1)

    def band(pairs: tuple[int, int]) -> Band:
        first, last = pairs
        return tuple(blocks[place(first) : place(last) + 1])

    return Bands(band(_SHALLOW), band(_MIDDLE), band(_DEEP), band(_DEEP_VARIANCE))
