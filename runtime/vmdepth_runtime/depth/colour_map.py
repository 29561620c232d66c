"""Depth to colour, over a range that does not flicker: fixed for a file, slowly running for a live source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.palettes import PALETTE, PALETTES

if TYPE_CHECKING:
    from vmdepth_runtime.camera.rectifier import Rectifier
    from vmdepth_runtime.depth.stream_batch import StreamBatch
    from vmdepth_runtime.sources.base import Source

PERCENTILES = (1.0, 99.0)  # what of a depth map spans the colours; single hot pixels must not
_SAMPLES_PER_MAP = 10_000  # pixels that percentiles are taken from: 1 % of them is still a hundred
_RANGE_FRAMES = 8  # frames the colour range of a file is chosen from
_NEAREST = 1e-3  # of the farthest depth: nearer is painted as this is, where larger is farther
_FLAT = 1e-6  # a span below this share of the depth's size is rounding, not relief


NO_DEPTH = 128
"""Gray level of a pixel without depth: of no palette but "gray" itself."""

# ColorBrewer's Spectral, from near (red) to far (blue).
_SPECTRAL = "9e0142 d53e4f f46d43 fdae61 fee08b ffffbf e6f598 abdda4 66c2a5 3288bd 5e4fa2"


@cache
def _table(name: str) -> NDArray[np.uint8]:
    """The colours of a palette as OpenCV wants them: uint8 [256, 1, 3] RGB."""
    if name not in PALETTES:
        raise InputError(f"there is no palette '{name}'; there are {', '.join(PALETTES)}")
    steps = np.arange(256, dtype=np.uint8)[:, None]
    if name == "gray":
        return np.stack([steps] * 3, axis=-1)
    if name == "spectral":
        nodes = np.array([list(bytes.fromhex(colour)) for colour in reversed(_SPECTRAL.split())], np.float64)
        places = np.linspace(0, 255, len(nodes))
        channels = [np.interp(steps, places, channel) for channel in nodes.T]
        return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(steps, getattr(cv2, f"COLORMAP_{name.upper()}"))[..., ::-1])


def palette(name: str) -> NDArray[np.uint8]:
    """The colours of a palette.

    Args:
        name: one of `palettes.PALETTES`.

    Returns:
        uint8 `[256, 3]` RGB, from far to near, a copy.

    Raises:
        InputError: there is none of that name.
    """
    return _table(name)[:, 0].copy()


def colourise(
    depth: NDArray[np.float32],
    low: float,
    high: float,
    out: NDArray[np.uint8] | None = None,
    *,
    palette: str = PALETTE,
) -> NDArray[np.uint8]:
    """Paint a depth map.

    depth: float32 `[H, W]`; a pixel that is NaN becomes gray (`NO_DEPTH`). low: the depth painted as far; high: the one
    painted as near. Where larger is farther, low > high, and colours are even in 1 / depth, so that what is near does
    not become one colour for the sake of what is far. What lies outside is clamped; a flat range gives one middle
    colour. out: uint8 `[H, W, 3]` to write into, rows may be strided. palette: one of `palettes.PALETTES`. Returns
    uint8 `[H, W, 3]` RGB (`out` when given).
    """
    lowest, highest = min(low, high), max(low, high)
    if low > high:
        lowest = max(lowest, highest * _NEAREST)
        if lowest <= 0:  # nothing is far, and nothing near
            return colourise(np.where(np.isnan(depth), depth, np.float32(0)), 0, 0, out, palette=palette)
        depth = np.reciprocal(np.clip(depth, lowest, highest, dtype=np.float32))
        lowest, highest = low, high = 1 / highest, 1 / lowest
    span = high - low
    if abs(span) <= _FLAT * max(abs(low), abs(high)) or not math.isfinite(span):
        scale, shift, bounded = 0.0, 127.0, np.zeros_like(depth)
    else:
        scale, shift = 255.0 / span, -255.0 * low / span
        bounded = np.clip(depth, lowest, highest)  # OpenCV saturates up to 2^31 only
    levels = cv2.addWeighted(bounded, scale, bounded, 0.0, shift, dtype=cv2.CV_8U)
    painted = cast("NDArray[np.uint8]", cv2.applyColorMap(levels, _table(palette), out))
    if np.isnan(np.sum(depth)):  # one pass over what has none almost always
        painted[np.isnan(depth)] = NO_DEPTH
    return painted


class ColourRange(Protocol):
    """Says which depths are the ends of the colour scale, frame by frame."""

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        """Take note of a depth map at `time` seconds; return (low, high) for `colourise`."""

    def restart(self) -> None:
        """What comes next does not continue what came before."""


class FixedRange:
    """One range for the whole video. low, high: as in `colourise`."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        return self.low, self.high

    def restart(self) -> None:
        return

    @classmethod
    def of(cls, depths: Iterable[NDArray[np.float32]], *, larger_is_nearer: bool = True) -> FixedRange:
        """The 1st to 99th percentile of all the given depth maps (float32 `[H, W]`, at least one) together."""
        far, near = _percentiles(np.concatenate([_some_pixels(depth) for depth in depths]))
        return cls(far, near) if larger_is_nearer else cls(near, far)


class OwnRange:
    """The percentiles of each depth map for itself, as of pictures that have nothing to do with each other."""

    def __init__(self, *, larger_is_nearer: bool = True) -> None:
        self._larger_is_nearer = larger_is_nearer

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        far, near = _percentiles(_some_pixels(depth))
        return (far, near) if self._larger_is_nearer else (near, far)

    def restart(self) -> None:
        return


class RunningRange:
    """Percentiles that follow the scene slowly, for a source that cannot be looked at beforehand.

    seconds: the time constant; after that long, 63 % of a change has arrived, whatever the frame rate.
    """

    def __init__(self, *, larger_is_nearer: bool = True, seconds: float = 4.0) -> None:
        self._larger_is_nearer = larger_is_nearer
        self._seconds = seconds
        self._bounds: tuple[float, float] | None = None
        self._time = 0.0

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        bounds = _percentiles(_some_pixels(depth))
        if self._bounds is not None:
            share = -math.expm1(-max(time - self._time, 0.0) / self._seconds)
            old_low, old_high = self._bounds
            bounds = (old_low + share * (bounds[0] - old_low), old_high + share * (bounds[1] - old_high))
        self._bounds, self._time = bounds, time
        return bounds if self._larger_is_nearer else bounds[::-1]

    def restart(self) -> None:
        self._bounds = None


class SceneRange(FixedRange):
    """One range for a video of depth without a unit, whose scale is another in each scene: fixed until one begins, as
    far as can be told, and from there on a running one, which begins anew with each. Arguments as of `FixedRange`."""

    def __init__(self, low: float, high: float, *, larger_is_nearer: bool = True) -> None:
        super().__init__(low, high)
        self._running = RunningRange(larger_is_nearer=larger_is_nearer)
        self._seen = self._anew = False

    @classmethod
    def of(cls, depths: Iterable[NDArray[np.float32]], *, larger_is_nearer: bool = True) -> SceneRange:
        fixed = FixedRange.of(depths, larger_is_nearer=larger_is_nearer)
        return cls(fixed.low, fixed.high, larger_is_nearer=larger_is_nearer)

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        self._seen = True
        return self._running.update(depth, time) if self._anew else super().update(depth, time)

    def restart(self) -> None:
        self._anew = self._seen  # the first frame of all continues none, and the range is of it
        self._running.restart()


def choose_ranges(
    batch: StreamBatch, sources: Sequence[Source | None], rectifiers: Sequence[Rectifier | None] | None = None
) -> list[ColourRange]:
    """One colour range for what is taken of each source, from a few frames spread over it, which of depth without a
    unit starts anew where a scene does; for pictures on their own one each; a slowly running one where a source cannot
    be looked at beforehand, or need not be (None). Leaves the session reset.

    batch: without key frames, and not used for anything else. rectifiers: what frames of each source go through first.
    """
    session = batch.session
    samples = [[] if source is None else source.sample(_RANGE_FRAMES) for source in sources]
    for images, rectify in zip(samples, rectifiers or [None] * len(samples), strict=True):
        images[:] = [rectify(image) if rectify else image for image in images]
    depths: list[list[Any]] = [[] for _ in sources]
    session.reset()
    # In order and with the states carried on: a network that has seen nothing may judge depth on another scale.
    for number in range(max(map(len, samples))):
        results = batch.step([images[number] if number < len(images) else None for images in samples])
        for stream, result in enumerate(results):
            if result is not None:
                depths[stream].append(result.depth.copy())
    session.reset()
    kind = batch.contract.depth_meaning
    near = {"larger_is_nearer": kind.inverse}
    fixed = SceneRange if kind.unit is None else FixedRange
    ranges: list[ColourRange] = []
    for source, maps in zip(sources, depths, strict=True):
        if source is not None and source.pictures:
            ranges.append(OwnRange(**near))
        else:
            ranges.append(fixed.of(maps, **near) if maps else RunningRange(**near))
    return ranges


def _some_pixels(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    stride = max(1, math.isqrt(depth.size // _SAMPLES_PER_MAP))
    return depth[::stride, ::stride].ravel()


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(finite, PERCENTILES)
    return float(low), float(high)
