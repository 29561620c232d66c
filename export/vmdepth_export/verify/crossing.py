"""What a session copies between host and device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sessions.base import StepSession

_COUNTED = 10  # frames


def bytes_per_frame(session: StepSession, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
    """Bytes that a step of a session on a GPU copies: "in", "out", and of both those of "states", which are neither the
    frame nor an output.

    Our own copies are counted; what a library copies by itself within a step is not seen. frames: uint8 [B, H, W, 3].
    """
    with _counting(session.memory) as crossed:
        for frame in frames[:_COUNTED]:
            session.frame[...] = frame
            outputs = session.step()
    into, out = (crossed[way] / len(frames[:_COUNTED]) for way in ("upload", "download"))
    own = session.frame.nbytes + sum(array.nbytes for array in outputs.values())
    return {"in": into, "out": out, "states": into + out - own}


def told_bytes(crossed: dict[str, float]) -> str:
    """For people."""
    return f"{crossed['in']:.0f} bytes in, {crossed['out']:.0f} out, of states {crossed['states']:.0f}"


@contextmanager
def _counting(memory: Any) -> Iterator[dict[str, int]]:
    """Bytes that go through `upload` and `download` of a memory, by those names, while it lasts."""
    crossed = {"upload": 0, "download": 0}

    def counted(way: str, copy: Any, *given: Any) -> None:
        crossed[way] += sum(value.nbytes for value in given if isinstance(value, np.ndarray))
        copy(*given)

    for way in crossed:
        setattr(memory, way, partial(counted, way, getattr(memory, way)))
    try:
        yield crossed
    finally:
        for way in crossed:
            delattr(memory, way)
