"""Two sessions stepping over the same frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sessions.base import StepOutputs, StepSession


def both(
    reference: StepSession, candidate: StepSession, frames: Iterable[NDArray[np.uint8]]
) -> Iterator[tuple[StepOutputs, StepOutputs]]:
    """What the two give for every frame; their buffers, which the next frame overwrites.

    A reference in PyTorch steps while the candidate does, in a thread of its own and on half of the cores.
    """
    if reference.backend != "torch":
        for frame in frames:
            reference.frame[...] = frame
            candidate.frame[...] = frame
            yield reference.step(), candidate.step()
        return
    with _half_of_the_cores(), ThreadPoolExecutor(1) as aside:
        for frame in frames:
            reference.frame[...] = frame
            candidate.frame[...] = frame
            expected = aside.submit(reference.step)
            got = candidate.step()
            yield expected.result(), got


@contextmanager
def _half_of_the_cores() -> Iterator[None]:
    """For PyTorch. Its threads wait for each other after every operation: beside other work on the same cores two of
    them were four times as slow as one."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
