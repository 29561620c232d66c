"""Depth as pictures and arrays, in memory as their files are."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.depth_kinds import DepthKind

DEEPEST = 65535
"""The largest value of a 16-bit picture; 0 is no depth, as with depth cameras."""
PER_METRE = 1000.0
"""Steps of a 16-bit picture of metric depth: millimetres."""
ROOM = 4.0
"""How many times as large as the largest depth but for single pixels a 16-bit picture can show."""


def steps_per_unit(kind: DepthKind, largest: float) -> float:
    """Steps of a 16-bit picture to a unit of depth: millimetres of metres; of depth without a unit as many as give the
    largest value the largest step. largest: 0 where there is none."""
    return PER_METRE if kind.unit == "m" else DEEPEST / (largest or 1.0)


def step_facts(kind: DepthKind, steps: float) -> dict[str, Any]:
    """What files of 16-bit pictures say beside them. steps: to a unit of depth."""
    return {
        "depth_kind": kind.name,
        "meaning": kind.meaning,
        "unit": kind.unit,
        "depth_per_step": 1 / steps,
        "invalid": 0,
    }


def clipped(name: str, count: int, kind: DepthKind) -> str:
    """A line for people about pictures some of whose pixels 16 bits do not hold. kind: of their depth."""
    if kind.unit == "m":
        return f"{name}: {count} pixels were beyond the {DEEPEST / PER_METRE:g} m that 16 bits hold, and are 0"
    return f"{name}: {count} pixels were beyond what 16 bits hold, and are {DEEPEST}"


def sixteen_bits(depth: NDArray[np.float32], steps: float, kind: DepthKind) -> tuple[NDArray[np.uint16], int]:
    """Depth in whole steps.

    Args:
        depth: float32 `[H, W]`.
        steps: how many there are to a unit of depth.
        kind: of the depth.

    Returns:
        uint16 `[H, W]`, 0 where depth is not finite; and how many pixels were beyond what 16 bits hold: 65535 of depth
        without a unit, and 0 of metres, since a robot is better off without than with a wall there.
    """
    counted = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * np.float32(steps))
    beyond = counted > DEEPEST
    if kind.unit == "m":
        counted[beyond] = 0
    return np.clip(counted, 0, DEEPEST).astype(np.uint16), int(np.count_nonzero(beyond))


def picture(image: NDArray[Any], ending: str) -> bytes:
    """A picture's file. image: uint8 `[H, W, 3]` RGB, or uint16 `[H, W]` for ".png". ending: ".png" or ".jpg"."""
    good, content = cv2.imencode(ending, image[..., ::-1] if image.ndim == 3 else image)
    if not good:
        raise OSError("the image cannot be encoded")
    return content.tobytes()


def npy(array: NDArray[np.float32]) -> memoryview:
    """A file for `np.load`, little-endian."""
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array, "<f4"), allow_pickle=False)
    return content.getbuffer()


def npz(**arrays: NDArray[Any]) -> memoryview:
    """An archive of arrays for `np.load`, compressed."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # NumPy's own keyword is none of them
    return content.getbuffer()


def exr(depth: NDArray[np.float32]) -> bytes:
    """An OpenEXR file of one float32 channel. depth: float32 `[H, W]`."""
    height, width = depth.shape
    codec: Any = av.CodecContext.create("exr", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "grayf32le"
    codec.time_base = Fraction(1, 30)  # which FFmpeg wants, and the file does not hold
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(depth, "<f4"), format="grayf32le")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
