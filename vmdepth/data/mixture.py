"""Where clips come from: the rendered world and videos, mixed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vmdepth.data.cutting import longest_clip
from vmdepth.data.videos import Video, find_videos
from vmdepth_runtime.errors import InputError

RENDERED = "rendered"


@dataclass(frozen=True)
class ClipSource:
    """weight: share of the clips, of all weights together. videos: None for the rendered world. skipped: videos that
    were left out because they are shorter than a clip."""

    name: str
    weight: float
    videos: tuple[Video, ...] | None = None
    skipped: int = 0


def parse_mixture(text: str, length: int) -> list[ClipSource]:
    """`rendered`, a path, or several with weights: `rendered:0.5,videos/:0.3,office/:0.2` (1 where none is given).

    length: frames of a clip; videos that are too short are left out. Raises InputError for a path without any clip, for
    one where all are too short, and for weights that are none.
    """
    whole = Path(text).exists()  # a path may hold a comma or a colon
    sources = []
    for part in [text] if whole else [part.strip() for part in text.split(",")]:
        name, colon, number = part.rpartition(":")
        weight = 1.0
        if not colon or Path(part).exists():
            name = part
        else:
            try:
                weight = float(number)
            except ValueError:
                raise InputError(
                    f"data={text}: '{number}' is no weight; write for example rendered:0.5,videos:0.5"
                ) from None
        if not name:
            raise InputError(f"data={text}: a name is missing; write for example rendered:0.5,videos:0.5")
        if not weight > 0 or not np.isfinite(weight):
            raise InputError(f"data={text}: the weight of '{name}' should be above 0")
        videos = None if name == RENDERED else tuple(find_videos(Path(name)))
        sources.append(long_enough(ClipSource(name, weight, videos), length))
    return sources


def long_enough(source: ClipSource, length: int) -> ClipSource:
    """The source without videos that have no clip of `length` frames. Raises InputError where none is left."""
    if source.videos is None:
        return source
    fitting = tuple(video for video in source.videos if longest_clip(video) >= length)
    if not fitting:
        longest = max(longest_clip(video) for video in source.videos)
        raise InputError(
            f"{source.name}: no clip of {length} frames: all {len(source.videos)} videos were skipped, the longest has "
            f"{longest}; lower clip_length"
        )
    return replace(source, videos=fitting, skipped=source.skipped + len(source.videos) - len(fitting))


def draw(sources: Sequence[ClipSource], rng: np.random.Generator) -> Video | None:
    """The video of the next clip, long ones oftener; None for the rendered world."""
    weights = np.array([source.weight for source in sources])
    videos = sources[rng.choice(len(sources), p=weights / weights.sum())].videos
    if videos is None:
        return None
    lengths = np.array([len(video) for video in videos], float)
    return videos[rng.choice(len(videos), p=lengths / lengths.sum())]
