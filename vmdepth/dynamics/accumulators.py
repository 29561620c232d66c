"""Queries and keys as they come, a frame of a block at a time, become raw maps, and are let go as soon as can be.

Window and near statistics hold the few frames that are still to meet each other, those of the past a sum, and those of
all frames a sum and, where it is not known beforehand, what is to meet it until the last frame of the video is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from vmdepth.dynamics import statistics as closed
from vmdepth.dynamics.first_pass import Letter, Reach, Statistic
from vmdepth.dynamics.statistics import Moments

Held: TypeAlias = dict[tuple[Letter, int], Tensor]
"""Vectors [heads, places, d] by what they are and their frame."""

_BEHIND: dict[Reach, int] = {"window": 6, "near": 2, "past": 0, "all": 0}  # frames before one that it meets as vectors
_AHEAD: dict[Reach, int] = {"window": 6, "near": 2, "past": 0, "all": 0}


class Totals:
    """Moments over all frames of a video, of what statistics of reach "all" meet. moments: by block and letter."""

    def __init__(self, statistics: Iterable[Statistic]) -> None:
        met = {(layer, _met(one)) for one in statistics if one.reach == "all" for layer in one.layers}
        self.moments: dict[tuple[int, Letter], Moments | None] = dict.fromkeys(met)

    def add(self, layer: int, letter: Letter, vectors: Tensor) -> None:
        """Take the patches [heads, places, d] of one more frame, where anything needs them."""
        if (layer, letter) in self.moments:
            before, own = self.moments[layer, letter], Moments.of(vectors)
            self.moments[layer, letter] = own if before is None else before + own

    def of(self, layer: int, letter: Letter) -> Moments:
        found = self.moments[layer, letter]
        assert found is not None
        return found


class Collector:
    """Raw maps of so many frames, of queries and keys that come in the order of the frames within every block.

    Frames come in windows that see each other, each begun by `begin`; of a window, only the maps of frames that are its
    own are made, and frames of other windows are met in sums alone.

    Attributes:
        raw: of every statistic, [frames, places], in the precision of what came; whole after the last frame.
        totals: of what statistics of reach "all" meet; likewise.
    """

    def __init__(self, statistics: Iterable[Statistic], frames: int, totals: Totals | None = None) -> None:
        """totals: over the whole video, if they are known."""
        self.raw: dict[Statistic, Tensor] = {}
        self._statistics = list(dict.fromkeys(statistics))
        self._frames = frames
        self._known = totals is not None
        self.totals = totals or Totals(self._statistics)
        self._past: dict[tuple[int, Letter], Moments] = {}
        self._products: dict[tuple[Statistic, int], tuple[Tensor, int]] = {}
        self._tracks: dict[int, _Track] = {}
        self._waiting: dict[int, Held] = {}  # by block: for totals
        self.begin(range(frames), range(frames))

    def begin(self, seen: range, own: range) -> None:
        """The next window: frames that see each other, and those among them whose maps are made."""
        self._seen, self._own = seen, own
        layers = sorted({layer for one in self._statistics for layer in one.layers})
        self._tracks = {
            layer: _Track([one for one in self._statistics if layer in one.layers], own.start, not self._known)
            for layer in layers
        }

    def add(self, layer: int, letter: Letter, frame: int, vectors: Tensor) -> None:
        """Take queries or keys [heads, places, d] of the patches of a frame; what nothing needs is let go at once."""
        track = self._tracks.get(layer)
        if track is None or letter not in track.newest:
            return
        vectors = closed.at_least_float32(vectors)
        if letter in track.vectors:
            track.held[letter, frame] = vectors.clone(memory_format=torch.contiguous_format)
        if letter in track.sums:
            track.moments[letter, frame] = Moments.of(vectors)
        if not self._known and frame in self._own:
            self.totals.add(layer, letter, vectors)
            if letter in track.waiting:
                kept = track.held[letter, frame]
                self._waiting.setdefault(layer, {})[letter, frame] = kept
        track.newest[letter] = frame
        self._go_on(layer, track)

    @property
    def held(self) -> int:
        """Numbers that are kept for maps to come, beside what past and totals add up to."""
        stores = [*(track.held for track in self._tracks.values()), *self._waiting.values()]
        vectors = {id(value): value.numel() for store in stores for value in store.values()}
        return sum(vectors.values()) + sum(products.numel() for products, _ in self._products.values())

    def _go_on(self, layer: int, track: _Track) -> None:
        """Make the maps of frames that have met all they meet."""
        newest = min(track.newest.values())
        whole = newest == self._seen.stop - 1
        for reach, following in track.following.items():
            last = newest if whole else newest - _AHEAD[reach]
            for frame in range(following, min(last + 1, self._own.stop)):
                self._score(layer, track, reach, frame, track.held)
                track.following[reach] = frame + 1
        track.let_go(self._own.stop)
        if newest == self._frames - 1 and track.waiting:
            waiting = self._waiting.pop(layer)
            for frame in range(self._frames):
                self._score(layer, track, "all", frame, waiting)

    def _score(self, layer: int, track: _Track, reach: Reach, frame: int, held: Held) -> None:
        """One frame's share of one block in all statistics of a reach, by the frame's own vectors as they are held."""
        asked = [one for one in track.statistics if one.reach == reach]
        met = {letter: self._met(layer, track, reach, letter, frame) for letter in sorted({_met(one) for one in asked})}
        for one in asked:
            vectors, others = held[_own(one), frame], met[_met(one)]
            if isinstance(others, Moments):
                self._put(one, frame, closed.per_head_scores(one.kind, vectors, others) / len(one.layers))
                continue
            scored = len(one.layers) * len(vectors)
            if one.kind == "similarity":
                self._put(one, frame, closed.window_similarity(vectors, others) / scored)
            else:
                before, blocks = self._products.pop((one, frame), (0, 0))
                products = before + closed.window_products(vectors, others)
                if blocks + 1 == len(one.layers):
                    self._put(one, frame, closed.deviation(products, scored))
                else:
                    self._products[one, frame] = products, blocks + 1

    def _met(self, layer: int, track: _Track, reach: Reach, letter: Letter, frame: int) -> Moments | Tensor:
        """What a frame meets: moments, or for window statistics the vectors averaged over the frames."""
        if reach == "all":
            return self.totals.of(layer, letter)
        if reach == "past":
            own = track.moments[letter, frame]
            before = self._past.get((layer, letter))
            self._past[layer, letter] = own if before is None else before + own
            return self._past[layer, letter]
        others = [other for other in closed.frames_met(reach, frame, self._frames) if other in self._seen]
        if reach == "near":
            return Moments.sum([track.moments[letter, other] for other in others])
        return torch.stack([track.held[letter, other] for other in others]).mean(dim=0)

    def _put(self, one: Statistic, frame: int, scores: Tensor) -> None:
        if one not in self.raw:
            self.raw[one] = scores.new_zeros(self._frames, len(scores), device="cpu")
        self.raw[one][frame] += scores.cpu()


class _Track:
    """What of one block in one window is held. following: of every reach, the frame whose map comes next; but for what
    meets all frames, if that is `late`: waiting says what of a frame has to wait for it."""

    def __init__(self, statistics: list[Statistic], first: int, late: bool) -> None:
        self.statistics = statistics
        waiting = [one for one in statistics if one.reach == "all" and late]
        self.waiting = {_own(one) for one in waiting}
        self.following: dict[Reach, int] = {one.reach: first for one in statistics if one not in waiting}
        self.vectors = {_own(one) for one in statistics} | {_met(one) for one in statistics if one.reach == "window"}
        self.sums = {_met(one) for one in statistics if one.reach in ("near", "past")}
        self.newest: dict[Letter, int] = dict.fromkeys(
            {_own(one) for one in statistics} | {_met(one) for one in statistics}, first - max(_BEHIND.values()) - 1
        )
        self.held: Held = {}
        self.moments: dict[tuple[Letter, int], Moments] = {}

    def let_go(self, end: int) -> None:
        """Forget frames that no map to come needs; the last is that of the frame before `end`."""
        coming = [following - _BEHIND[reach] for reach, following in self.following.items() if following < end]
        needed = min(coming, default=max(self.newest.values()) + 1)
        self.held = {key: value for key, value in self.held.items() if key[1] >= needed}
        self.moments = {key: value for key, value in self.moments.items() if key[1] >= needed}


def raw_maps(
    statistics: Iterable[Statistic], queries: Mapping[int, Tensor], keys: Mapping[int, Tensor]
) -> dict[Statistic, Tensor]:
    """Raw maps of queries and keys that are all at hand.

    Args:
        statistics: what is asked.
        queries: of every block that a statistic names, without special tokens, [T, heads, places, d].
        keys: likewise.

    Returns:
        Of every statistic [T, places], in the precision of the vectors.
    """
    statistics = list(statistics)
    frames = len(next(iter((queries or keys).values())))
    collector = Collector(statistics, frames)
    for letter, all_of in (("K", keys), ("Q", queries)):
        for layer, vectors in all_of.items():
            for frame, own in enumerate(vectors):
                collector.add(layer, letter, frame, own)  # type: ignore[arg-type]
    return collector.raw


def _own(one: Statistic) -> Letter:
    return "Q" if one.pair[0] == "Q" else "K"


def _met(one: Statistic) -> Letter:
    return "Q" if one.pair[1] == "Q" else "K"
