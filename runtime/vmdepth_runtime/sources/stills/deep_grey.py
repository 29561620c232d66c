"""Grey pictures of 16 bits: of thermal and industrial cameras, which use a part of them, or depth.

A picture that uses less than half of the 65,536 levels, as the 10,000 millimetres of a depth camera, would be all but
black in 8 bits; its own range is taken from black to white instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

_LEVELS = 65_536
_SHARES = (0.1, 99.9)  # percent of pixels that may be below black and white: a few of a sensor are broken
_PIXELS = 200_000  # of a picture that are looked at
_DEEP = re.compile(r"(gray|ya)(9|1[0-6])([lb]e)?")


class Grey(NamedTuple):
    """Which levels of 16 bits are black and white."""

    black: float
    white: float

    @property
    def is_stretched(self) -> bool:
        """Whether it is not all of them."""
        return self != WHOLE

    def __str__(self) -> str:
        return f"16 bits of grey: {self.black:.0f} to {self.white:.0f} is taken from black to white"

    def widened(self, other: Grey) -> Grey:
        """Both; all levels where that is more than half of them."""
        return _stretched(min(self.black, other.black), max(self.white, other.white))

    def __call__(self, deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """uint8 of the shape of a uint16 array."""
        levels = (np.arange(_LEVELS) - self.black) * (255 / max(self.white - self.black, 1))
        return np.rint(levels.clip(0, 255)).astype(np.uint8)[deep]


WHOLE = Grey(0, _LEVELS - 1)


def grey_of(pictures: Sequence[NDArray[np.uint16]]) -> Grey:
    """What is black and white in pictures uint16 `[H, W]` that belong together.

    Level 0 does not count: in depth it means that there is none.
    """
    seen = np.concatenate([picture.ravel()[:: 1 + picture.size // _PIXELS] for picture in pictures])
    seen = seen[seen > 0]
    if not seen.size:
        return WHOLE
    black, white = np.percentile(seen, _SHARES)
    return _stretched(float(black), float(white))


def _stretched(black: float, white: float) -> Grey:
    return Grey(black, white) if white - black < _LEVELS / 2 else WHOLE


def deep_grey(frame: av.VideoFrame) -> NDArray[np.uint16] | None:
    """A decoded picture as uint16 `[H, W]`, where it is grey and has more than 8 bits."""
    if not _DEEP.fullmatch(frame.format.name):
        return None
    if not frame.format.name.startswith("gray16"):
        frame = frame.reformat(format="gray16le", src_color_range="JPEG", dst_color_range="JPEG")
    return np.asarray(frame.to_ndarray(), np.uint16)


def declares_depth(file: Path) -> Path | None:
    """The file beside a picture that says that it is depth, as the outputs of a run have one."""
    for name in (file.stem, re.sub(r"\d+(?=\D*$)", "depth", file.stem)):
        beside = file.with_name(f"{name}.json")
        try:
            if "depth_per_step" in json.loads(beside.read_bytes()):
                return beside
        except (OSError, ValueError, TypeError):
            continue
    return None
