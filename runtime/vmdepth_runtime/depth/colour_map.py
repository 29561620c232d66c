"""Depth to colour, over a range that does not flicker: fixed for a file, slowly running for a live source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.resize import resize_frame

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.base import StepSession
    from vmdepth_runtime.sources.base import Source

PERCENTILES = (1.0, 99.0)  # what of a depth map spans the colours; single hot pixels must not
_SAMPLES_PER_MAP = 10_000  # pixels that percentiles are taken from: 1 % of them is still a hundred
_RANGE_FRAMES = 8  # frames the colour range of a file is chosen from
_FLAT = 1e-6  # a span below this share of the depth's size is rounding, not relief


@cache
def _palette() -> NDArray[np.uint8]:
    """Inferno as a 256×1×3 RGB table: lightness rises evenly from far (black) to near (pale yellow)."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO)[..., ::-1])


def colourise(
    depth: NDArray[np.float32], low: float, high: float, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Paint a depth map.

    depth: float32 `[H, W]`. low: the depth painted darkest (far); high: the one painted brightest (near). For metric
    depth, where larger is farther, low > high. What lies outside is clamped; a flat range gives one middle colour.
    out: uint8 `[H, W, 3]` to write into, rows may be strided. Returns uint8 `[H, W, 3]` RGB (`out` when given).
    """
    span = high - low
    if abs(span) <= _FLAT * max(abs(low), abs(high)) or not math.isfinite(span):
        scale, shift = 0.0, 127.0
    else:
        scale, shift = 255.0 / span, -255.0 * low / span
        depth = np.clip(depth, min(low, high), max(low, high))  # OpenCV saturates up to 2^31 only
    levels = cv2.addWeighted(depth, scale, depth, 0.0, shift, dtype=cv2.CV_8U)
    return cast("NDArray[np.uint8]", cv2.applyColorMap(levels, _palette(), out))


class ColourRange(Protocol):
    """Says which depths are the ends of the colour scale, frame by frame."""

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        """Take note of a depth map at `time` seconds; return (low, high) for `colourise`."""


class FixedRange:
    """One range for the whole video. low, high: as in `colourise`."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def update(self, depth: NDArray[np.float32], time: float) -> tuple[float, float]:
        return self.low, self.high

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


def choose_ranges(session: StepSession, sources: Sequence[Source | None], resize: Resize) -> list[ColourRange]:
    """One colour range for what is taken of each source, from a few frames spread over it; for pictures on their own
    one each; a slowly running one where a source cannot be looked at beforehand, or need not be (None). Leaves the
    session reset."""
    larger_is_nearer = session.contract.depth_kind == "relative"
    samples = [[] if source is None else source.sample(_RANGE_FRAMES) for source in sources]
    depths: list[list[Any]] = [[] for _ in sources]
    session.reset()
    # In order and with the states carried on: a network that has seen nothing may judge depth on another scale.
    for number in range(max(map(len, samples))):
        there = [stream for stream, images in enumerate(samples) if number < len(images)]
        for stream in there:
            resize_frame(samples[stream][number], session.frame[stream], resize)
        output = session.step()
        for stream in there:
            depths[stream].append(output["depth"][stream].copy())
    session.reset()
    near = {"larger_is_nearer": larger_is_nearer}
    ranges: list[ColourRange] = []
    for source, maps in zip(sources, depths, strict=True):
        if source is not None and source.pictures:
            ranges.append(OwnRange(**near))
        else:
            ranges.append(FixedRange.of(maps, **near) if maps else RunningRange(**near))
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
