"""The first pass: a network looks at a whole video, and what its attention says is measured while it does.

Frames of networks of views see each other, so a long video goes in windows that overlap, as far as statistics reach on
each side: time is linear in the number of frames, and memory that of one window. A frame belongs to the window whose
middle is nearer. Window and near statistics are those of its own window, as though there were no
other; those of the past and of all frames add up every frame as its own window saw it. Every window has a reference
view of its own, so these sums are near to what one pass over all frames would give, and not the same. Depth and cameras
of windows are put together as `vmdepth-views` does. What meets all frames has to wait for the last one: up to a
gigabyte of it is kept; where it is more, or a budget is given, a video longer than a window is gone through twice, the
first time by the encoder alone, for the sums.

Networks that see each frame alone go through the video in pieces, and know no windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vmdepth.dynamics.accumulators import Collector, Totals
from vmdepth.dynamics.first_pass import LEAST_FRAMES, FirstPass, Floats, Letter, Statistic, Sums
from vmdepth.dynamics.passes import WINDOW, Passes, passes_of
from vmdepth.networks.encoder import PATCH, check_size
from vmdepth.networks.multiview.reference_view import Reference
from vmdepth.networks.observer import BlockSlice, Observer, Part
from vmdepth.views.windows import View
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.progress import ProgressLine

_KEPT = 2**30  # bytes of queries and keys of a whole video, at most
_LETTERS: dict[Part, Letter] = {"query": "Q", "key": "K"}


def look(
    network: nn.Module,
    images: NDArray[np.uint8],
    statistics: Sequence[Statistic],
    *,
    memory_budget: int | str | None = None,
    window: int = WINDOW,
    reference: Reference | int = "saddle_balanced",
    feature_layer: int | None = None,
    progress: ProgressLine | None = None,
) -> FirstPass:
    """A network's first pass over a video.

    Args:
        network: any whose encoder has attention: of views (a causal one in the form whose frames all see each other),
            for single images, of videos.
        images: uint8 [T, H, W, 3], RGB, as the network is to see them; sides are multiples of 14.
        statistics: what to measure.
        memory_budget: of a network of views or for single images, what one window may take beside weights and input
            ("4GiB", or bytes).
        window: frames of a network of views that see each other, more than 12; 0: all of them.
        reference: of a network of views, how the view is chosen that the others refer to, in every window anew.
        feature_layer: the block whose output, normalised as the last one's is, makes the features. None: the last; of a
            network of views the last one before its views begin to see each other.
        progress: told how many blocks of all windows are done, or frames where a network sees each alone.

    Returns:
        What it found. Of several windows, `reference` is that of the first.

    Raises:
        InputError: no attention, no such block, too few frames, frames of another size, too small a window or budget.
        WorkError: windows that cannot be aligned, or depth that is no number.
    """
    passes = passes_of(network, window, reference, memory_budget)
    layer = passes.feature_layer if feature_layer is None else feature_layer
    _check(passes, images, statistics, layer)
    count, height, width = images.shape[:3]
    grid = (count, height // PATCH, width // PATCH)
    features = np.empty((*grid, passes.encoder.size.width), np.float32)
    totals = Totals(statistics)
    waiting = {(block, one.pair[0]) for one in statistics if one.reach == "all" for block in one.layers}
    kept = len(waiting) * features.nbytes
    apart = count > (window or count) and (kept > _KEPT or (kept > 0 and memory_budget is not None))
    collector = Collector(statistics, count, totals if apart else None)
    progress = progress or ProgressLine("looking")
    try:
        if apart:
            progress.stage("adding up", *passes.steps(count))
            _Adding(totals).go(passes, images, progress)
        progress.stage("looking", *passes.steps(count))
        taking = _Taking(collector, features, layer, passes.encoder.norm)
        views, reference_of = taking.go(passes, images, statistics, progress)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not all(np.isfinite(view.depth).all() for view in views):
        raise WorkError(f"{passes.name}: gives depth that is no number")
    raw = {one: collector.raw[one].numpy().astype(np.float32).reshape(grid) for one in statistics}
    sums = {met: collector.totals.of(*met).arrays() for met in collector.totals.moments}
    return _together(images, raw, sums, features, views, DEPTH_KINDS[passes.depth_kind].inverse, reference_of)


def _together(
    images: NDArray[np.uint8],
    raw: dict[Statistic, Floats],
    sums: dict[tuple[int, Letter], Sums],
    features: Floats,
    views: Sequence[View],
    inverse: bool,
    reference: int | None,
) -> FirstPass:
    depth = np.stack([view.depth for view in views])
    cameras = [(view.extrinsics, view.intrinsics) for view in views if view.extrinsics is not None]
    extrinsics = np.stack([pose for pose, _ in cameras]) if cameras else None
    intrinsics = np.stack([matrix for _, matrix in cameras if matrix is not None]) if cameras else None
    return FirstPass(images, raw, features, depth, inverse, extrinsics, intrinsics, reference, sums)


class _Adding:
    """Takes in totals what frames are to meet of all others."""

    def __init__(self, totals: Totals) -> None:
        self._totals, self._own = totals, range(0)

    def go(self, passes: Passes, images: NDArray[np.uint8], progress: ProgressLine) -> None:
        layers = tuple(sorted({layer for layer, _ in self._totals.moments}))
        passes.encode(images, self._begin, Observer(self._see, layers=layers), progress.update)

    def _begin(self, window: range, own: range) -> None:
        self._own = own

    def _see(self, one: BlockSlice) -> None:
        for frame, vectors in enumerate(one.values, one.first):
            if frame in self._own:
                self._totals.add(one.layer, _LETTERS[one.part], vectors[:, one.special :])


class _Taking:
    """Takes queries and keys to the collector, and the output of one block, through a norm, to its place."""

    def __init__(self, collector: Collector, features: Floats, layer: int, norm: nn.Module) -> None:
        self._collector, self._features, self._layer, self._norm = collector, features, layer, norm
        self._own = range(0)

    def go(
        self, passes: Passes, images: NDArray[np.uint8], statistics: Sequence[Statistic], progress: ProgressLine
    ) -> tuple[list[View], int | None]:
        layers = {self._layer, *(block for one in statistics for block in one.layers)}
        grid, width = self._features.shape[1:3], self._features.shape[3]
        keeps = _keeps(statistics, grid[0] * grid[1] / width)
        observe = Observer(self._see, ("query", "key", "output"), tuple(sorted(layers)), keeps=keeps)
        return passes.look(images, self._begin, observe, progress.update)

    def _begin(self, window: range, own: range) -> None:
        self._own = own
        self._collector.begin(window, own)

    def _see(self, one: BlockSlice) -> None:
        for frame, values in enumerate(one.values, one.first):
            if one.part in _LETTERS:
                self._collector.add(one.layer, _LETTERS[one.part], frame, values[:, one.special :])
            elif one.layer == self._layer and frame in self._own:
                features = self._norm(values[one.special :]).float().cpu().numpy()
                self._features[frame] = features.reshape(self._features.shape[1:])


def _keeps(statistics: Sequence[Statistic], products: float) -> float:
    """What a window's frames hold at most, in shares of all tokens: queries and keys of a block, and products of places
    (one frame's in shares of its tokens) that go on from block to block."""
    letters = {letter for one in statistics for letter in one.pair}
    gathering = [one for one in statistics if one.reach == "window" and one.kind == "variance" and len(one.layers) > 1]
    return len(letters) + len(gathering) * products


def _check(passes: Passes, images: NDArray[np.uint8], statistics: Sequence[Statistic], layer: int) -> None:
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or 0 in images.shape:
        raise InputError(f"frames are uint8 [T, H, W, 3]; these are {images.dtype} {list(images.shape)}")
    try:
        check_size(images.shape[1], images.shape[2], PATCH)
    except ValueError as error:
        raise InputError(f"frames: {error}") from None
    blocks = passes.encoder.size.depth
    wrong = [one for one in (layer, *(block for s in statistics for block in s.layers)) if not 0 <= one < blocks]
    if wrong:
        raise InputError(f"block {wrong[0]}: {passes.name} has blocks 0 to {blocks - 1}")
    count = len(images)
    if count < LEAST_FRAMES and any(one.reach == "window" for one in statistics):
        raise InputError(
            f"{count} frame{'s' if count > 1 else ''}: statistics of a window take {LEAST_FRAMES} or more, as a frame "
            "meets those two, four and six away"
        )
    passes.windows(count)
