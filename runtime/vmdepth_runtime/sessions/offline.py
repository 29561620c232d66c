"""Networks that see a whole video at once, as sessions: `vmdepth-run --offline`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.given_model import registered
from vmdepth_runtime.sessions.load import MODEL_ENDINGS


class OfflineSession(StepSession):
    """Gives depth frame by frame like any session, but reads frames ahead by itself: `begin` says where.

    Before `begin`, a step sees the picture that lies in `frame`, alone. After it, every step gives the depth of the
    next frame that was read, whatever lies in `frame`. Frames have the contract's size.

    Attributes:
        remark: what is worth knowing of how this network goes over a video; may be empty.
    """

    remark: str

    @abstractmethod
    def begin(self, frames: Iterator[tuple[NDArray[np.uint8], bool]]) -> None:
        """Go over a video.

        Args:
            frames: uint8 `[H, W, 3]` RGB, each with whether it has nothing to do with what came before; those that will
                be stepped, in their order.
        """


def load_offline_session(
    path: Path,
    frame_size: tuple[int, int],
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> OfflineSession:
    """A checkpoint, ready to go over a video, by whichever package knows checkpoints.

    Args:
        path: of the checkpoint.
        frame_size: height and width of the video, pixels.
        size: height and width that the network sees; None is its own.
        threads: as of `load_session`.
        device: of PyTorch: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.

    Raises:
        InputError: for what is no checkpoint, a size that it cannot have, and without torch.
    """
    if path.suffix in MODEL_ENDINGS:
        raise InputError(
            f"--offline: takes a checkpoint (.safetensors, .pth), given with --model; {path.name} goes frame by frame "
            f"and never sees the future"
        )
    session = registered("offline", path, frame_size, size, threads, device)
    assert isinstance(session, OfflineSession)
    return session
