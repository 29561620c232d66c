"""Where clips come from: the rendered world and videos, mixed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmdepth.data.cutting import longest_clip
from vmdepth.data.videos import Video, find_videos
from vmdepth_runtime.errors import InputError

RENDERED = "rendered"


@dataclass(frozen=True)
class Source:
    """weight: share of the clips, of all weights together. videos: None for the rendered world. skipped: videos that
    were left out because they are shorter than a clip."""

    name: str
    weight: float
    videos: tuple[Video, ...] | None = None
    skipped: int = 0


def parse_mixture(text: str, length: int) -> list[Source]:
    """`rendered`, a path, or several with weights: `rendered:0.5,videos/:0.3,office/:0.2` (1 where none is given).

    length: frames of a clip; videos that are too short are left out. Raises InputError for a path without any clip, for
    one where all are too short, and for weights that are none.
    """
    sources = []
    for part in text.split(","):
        name, colon, number = part.strip().rpartition(":")
        weight = 1.0
        if colon and not Path(part.strip()).exists():
            try:
                weight = float(number)
            except ValueError:
                raise InputError(
                    f"data={text}: '{number}' is no weight; write for example rendered:0.5,videos:0.5"
                ) from None
        else:
            name = part.strip()
        if not weight > 0 or not np.isfinite(weight):
            raise InputError(f"data={text}: the weight of '{name}' should be above 0")
        if not name:
            raise InputError(f"data={text}: a name is missing; write for example rendered:0.5,videos:0.5")
        sources.append(Source(name, weight) if name == RENDERED else _footage(Path(name), weight, length))
    return sources


def _footage(path: Path, weight: float, length: int) -> Source:
    videos = find_videos(path)
    fitting = tuple(video for video in videos if longest_clip(video) >= length)
    if not fitting:
        longest = max(longest_clip(video) for video in videos)
        raise InputError(
            f"{path}: no clip of {length} frames: all {len(videos)} videos were skipped, the longest has {longest}; "
            f"lower clip_length"
        )
    return Source(str(path), weight, fitting, len(videos) - len(fitting))


def draw(sources: Sequence[Source], rng: np.random.Generator) -> Video | None:
    """The video of the next clip, long ones oftener; None for the rendered world."""
    weights = np.array([source.weight for source in sources])
    videos = sources[rng.choice(len(sources), p=weights / weights.sum())].videos
    if videos is None:
        return None
    lengths = np.array([len(video) for video in videos], float)
    return videos[rng.choice(len(videos), p=lengths / lengths.sum())]
