"""Files read to their end, and what holds for the frames of every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmdepth_runtime import open_source


@pytest.fixture(scope="session")
def read() -> Callable[[Path], tuple[Any, list[Any]]]:
    """`read(path)`: the source, and all its frames."""

    def source_and_frames(path: Path) -> tuple[Any, list[Any]]:
        with open_source(path) as source:
            frames = list(source)
        return source, frames

    return source_and_frames


@pytest.fixture(scope="session")
def assert_in_step() -> Callable[[Any, Sequence[Any]], None]:
    """`assert_in_step(source, frames)`: every frame has the announced shape; indices and times rise."""

    def check(source: Any, frames: Sequence[Any]) -> None:
        for frame in frames:
            assert frame.image.dtype == np.uint8
            assert frame.image.shape == (source.info.height, source.info.width, 3)
            assert frame.image.flags.c_contiguous
        assert (np.diff([f.index for f in frames]) > 0).all()
        assert (np.diff([f.time for f in frames]) > 0).all()

    return check
