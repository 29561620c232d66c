"""What sinks are told, and frames for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vmdepth_runtime import SinkFacts, SourceFrame, VideoInfo
from vmdepth_runtime.sinks.base import Sink


@pytest.fixture(scope="session")
def facts() -> Callable[..., SinkFacts]:
    """Facts of a source of 64×48 at 30 fps, but for what is given."""

    def make_facts(
        height: int = 48, width: int = 64, time_base: Fraction = Fraction(1, 30), fps: float = 30.0, **other: Any
    ) -> SinkFacts:
        return SinkFacts(VideoInfo(width, height, None, fps, time_base), **other)

    return make_facts


@pytest.fixture(scope="session")
def fill() -> Callable[..., None]:
    """Write images to a sink, each at its time, with a depth of its number and a half everywhere."""

    def fill_sink(
        sink: Sink,
        images: Sequence[NDArray[np.uint8]],
        times: Sequence[float],
        colours: Sequence[NDArray[np.uint8]] | None = None,
    ) -> None:
        for k, (image, time) in enumerate(zip(images, times, strict=True)):
            depth = np.full(image.shape[:2], k + 0.5, np.float32)
            sink.write(SourceFrame(k, time, image), depth, image[::-1] if colours is None else colours[k])

    return fill_sink
