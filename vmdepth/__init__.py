"""vmdepth: streaming video depth, learnt on clips.

`vmdepth.load(path)` gives a `VideoDepth`: `model(clip, states)` and `model.step(frame, states)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmdepth.networks.temporal_attention import TemporalForm
    from vmdepth.networks.video_depth import VideoDepth

__all__ = ["load"]


def load(
    path: str | Path,
    temporal: TemporalForm | None = None,
    window: int | None = None,
    max_depth: float | None = None,
) -> VideoDepth:
    """The network in a checkpoint, ours or official: see `vmdepth.checkpoint.load`."""
    # Torch is imported here so that the commands start, and can say what is missing, without it.
    from vmdepth.checkpoint import load as load_checkpoint

    return load_checkpoint(path, temporal, window, max_depth)
