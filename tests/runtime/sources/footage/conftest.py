"""Coded footage that says how it is meant: its transfer, its matrix, its fields, the shape of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray


def encode(
    path: Path,
    frames: Iterable[av.VideoFrame],
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    **facts: Any,
) -> Path:
    """Write frames, 25 a second, in their own pixel format. facts: attributes of the encoder, as `color_trc`."""
    frames = list(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in facts.items():
            setattr(stream.codec_context, name, value)
        for k, frame in enumerate(frames):
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def planes(values: NDArray[Any], layout: str) -> av.VideoFrame:
    """A frame of Y, Cb and Cr `[H, W, 3]`, all at full resolution: layout is yuv444p or yuv444p10le."""
    height, width = values.shape[:2]
    frame = av.VideoFrame(width, height, layout)
    for plane, value in zip(frame.planes, np.moveaxis(np.rint(values), -1, 0), strict=True):
        kind = np.uint8 if layout == "yuv444p" else np.dtype("<u2")
        rows = np.zeros((height, plane.line_size // np.dtype(kind).itemsize), kind)
        rows[:, :width] = value
        plane.update(rows.tobytes())
    return frame


def coded(signal: NDArray[np.float64], red: float, blue: float, bits: int, full: bool) -> NDArray[np.float64]:
    """Y, Cb and Cr `[H, W, 3]` of red, green and blue from 0 to 1 (ITU-R BT.601, 709 and 2020 alike). red, blue: their
    shares of luma."""
    luma = signal @ np.array([red, 1 - red - blue, blue])
    chroma = ((signal[..., 2] - luma) / (2 - 2 * blue), (signal[..., 0] - luma) / (2 - 2 * red))
    one = 2 ** (bits - 8)
    if full:
        values = np.stack([luma, *(c + 128 * one / (256 * one - 1) for c in chroma)], axis=-1) * (256 * one - 1)
        return np.asarray(np.clip(values, 0, 256 * one - 1))
    return np.stack([16 + 219 * luma, *(128 + 224 * c for c in chroma)], axis=-1) * one


@pytest.fixture(scope="session")
def footage() -> Callable[..., Path]:
    return encode


@pytest.fixture(scope="session")
def yuv() -> Callable[..., av.VideoFrame]:
    """`yuv(signal, red, blue, bits=8, full=False)`: a frame of red, green and blue `[H, W, 3]` from 0 to 1."""

    def frame(
        signal: NDArray[np.float64], red: float, blue: float, *, bits: int = 8, full: bool = False
    ) -> av.VideoFrame:
        return planes(coded(signal, red, blue, bits, full), "yuv444p" if bits == 8 else "yuv444p10le")

    return frame
