"""What a motion head learns from: what it sees of rendered clips with the network, which stays as it is, and truth.

As nothing below the head learns, every clip is rendered and seen once, and the head goes over that many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vmdepth.data.batches import HELD_OUT_SEEDS
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.networks.motion.motion_head import Seen
from vmdepth.networks.video_depth import VideoDepth

_STILL_WORLDS = 8  # of the worlds in which next to nothing moves one in so many is learnt from; they are two of three
_PROBE = 48, 68  # height and width of the picture by which that is known
_MOVES = 0.004  # share of its pixels


@dataclass(frozen=True)
class MotionLessons:
    """seen: what the head looks at, float16 [clips, N, C, h, w] both. moves: float16 [clips, N, h, w], the share of
    every place's pixels that show something that moves by itself."""

    seen: Seen
    moves: Tensor

    def __len__(self) -> int:
        return len(self.moves)

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every channel of both maps in a row, [C, 1, 1], of a hundred clips."""
        some = [maps[:: max(1, len(self) // 100), 1:].transpose(1, 2).flatten(3).float() for maps in self.seen]
        means, spreads = ([function(maps, (0, 2, 3)) for maps in some] for function in (torch.mean, torch.std))
        return torch.cat(means)[:, None, None], torch.cat(spreads)[:, None, None]


def worlds(seed: int, count: int) -> Iterator[int]:
    """Seeds of rendered worlds, none of them held out, in most of which something moves."""
    number, found = HELD_OUT_SEEDS + seed * 10**8, 0
    while found < count:
        shown = render_clips([number], 1, *_PROBE, first_frame=8)
        if shown.moving.float().mean() >= _MOVES or number % _STILL_WORLDS == 0:
            found += 1
            yield number
        number += 1


@torch.no_grad()
def motion_lessons(
    network: VideoDepth,
    seeds: Iterator[int],
    frames: int,
    size: tuple[int, int],
    photos: Path | None = None,
    moved: Callable[[int], None] = lambda done: None,
) -> MotionLessons:
    """Render clips and see them with the network, which has a motion head.

    Args:
        network: whose states start anew with every clip.
        seeds: of the clips.
        frames: of each.
        size: height and width, pixels.
        photos: folder of photographs that every second clip has on its surfaces.
        moved: told after every clip how many are done.
    """
    clips = []
    for number, seed in enumerate(seeds):
        clip = render_clips([seed], frames, *size, photos=photos if number % 2 else None)
        clips.append(_lesson(network, clip.rgb, clip.moving[0].float()))
        moved(number + 1)
    geometry, appearance, moves = (torch.stack(parts) for parts in zip(*clips, strict=True))
    return MotionLessons(Seen(geometry, appearance), moves)


def _lesson(network: VideoDepth, rgb: Tensor, moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a clip [1, N, 3, H, W] and what moves there [N, 1, H, W], all that `MotionLessons` has."""
    geometry, appearance = network.seen_of_motion(rgb)
    rows, columns = geometry.shape[-2:]
    moves = F.adaptive_avg_pool2d(moving, (rows, columns))[:, 0]
    return geometry.half(), appearance.half(), moves.half()
