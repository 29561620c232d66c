"""The sound that goes with a source's pictures, for outputs that can keep it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from av.container import InputContainer


@dataclass(frozen=True)
class Sound:
    """Sound beside a source's pictures.

    Attributes:
        reopen: opens the source once more, to read the sound from; None where that cannot be (a pipe, a live source).
        origin: what the source's own clock shows at the frame whose time is 0, in seconds.
    """

    reopen: Callable[[], InputContainer] | None
    origin: float = 0.0
