"""vmdepth: streaming video depth, learnt on clips.

`vmdepth.load(path)` gives a `VideoDepth`: `model(clip, states)` and `model.step(frame, states)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmdepth.networks.video_depth import VideoDepth

__all__ = ["load"]


def load(path: str | Path) -> VideoDepth:
    """The network in a checkpoint: see `vmdepth.checkpoint.load`."""
    # Torch is imported here so that the commands start, and can say what is missing, without it.
    from vmdepth.checkpoint import load as load_checkpoint

    return load_checkpoint(path)
