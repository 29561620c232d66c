"""What every back end gives: one step of a network for several streams, and what they remember."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from traceback import clear_frames
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.sessions.state_buffers import Memory, Snapshot, StateBuffers

StepOutputs: TypeAlias = dict[str, NDArray[Any]]
"""What one step gives, by the names of `contract.own_outputs`."""


class StepSession(ABC):
    """A network that is ready to step. Belongs to the thread that made it.

    Write frames into `session.frame`, call `session.step()`, read the arrays it returns. A back end sets the
    attributes, computes in `step`, and keeps the states in `_states`, wherever it computes.

    Attributes:
        contract: what the network says about itself.
        path: the file that was loaded; of a network made in memory, its name.
        backend: what computes, for people.
        runs_on: the same, and on which part of this machine.
        frame: uint8 [B, H, W, 3] RGB, the writable input buffer.
        memory: where the states are.
    """

    contract: StepContract
    path: Path
    backend: str
    frame: NDArray[np.uint8]
    memory: Memory
    _states: StateBuffers

    @property
    def runs_on(self) -> str:
        return self.backend

    @abstractmethod
    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        """Run the frames that lie in `self.frame` through the network and advance the states by one frame.

        Args:
            idle: streams whose frame is not to be remembered; their states stay.

        Returns:
            The outputs by name: views onto the session's buffers, which **the next step overwrites**.

        Raises:
            WorkError: the back end failed.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the network and its buffers; arrays already handed out stay readable."""

    def reset(self, stream: int | None = None) -> None:
        """Forget everything that one stream, or all, have seen: every state back to its initial value."""
        self._states.reset(stream)

    def snapshot(self) -> Snapshot:
        """Room for the states of one stream, where the states are."""
        return self._states.snapshot()

    def save(self, stream: int, snapshot: Snapshot) -> None:
        """Copy a stream's states into a snapshot."""
        self._states.save(stream, snapshot)

    def restore(self, stream: int, snapshot: Snapshot, *, of_the_scene: bool = False) -> None:
        """Go on with a stream from saved states; of_the_scene: but with what moves judged by the frames since then."""
        self._states.restore(stream, snapshot, of_the_scene=of_the_scene)

    def states(self) -> dict[str, NDArray[Any]]:
        """Copies of the states that the next step will read, by name, in the contract's shapes and dtypes."""
        return self._states.read()

    def next_states(self) -> dict[str, NDArray[Any]]:
        """Copies of what the last step gave out as `next.<name>`, by name: recurrent states, of rings the one entry."""
        return self._states.read_next()

    def _give_up(self, error: BaseException) -> None:
        """Close what could not be made. error: says why; its frames may hold what goes before the GPU does."""
        with suppress(WorkError), self._current():
            seen: BaseException | None = error
            while seen is not None:
                clear_frames(seen.__traceback__)
                seen = seen.__cause__ or seen.__context__
        self.close()

    def _current(self) -> AbstractContextManager[None]:
        """On a GPU: its context is the thread's, where libraries put it or want it, and afterwards what was before."""
        return nullcontext()

    def __enter__(self) -> StepSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
