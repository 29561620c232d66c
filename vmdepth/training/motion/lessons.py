"""What a motion head learns from: maps of the network, which stays as it is, over rendered clips, and what moves there.

As nothing below the head learns, every clip is rendered and seen once, and the head goes over its maps many times.
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
from vmdepth.networks.motion_head import MotionHead
from vmdepth.networks.video_depth import VideoDepth

_STILL_WORLDS = 8  # of the worlds in which next to nothing moves one in so many is learnt from; they are two of three
_PROBE = 48, 68  # height and width of the picture by which that is known
_MOVES = 0.004  # share of its pixels


@dataclass(frozen=True)
class MotionLessons:
    """maps: float16 [clips, N, C, h, w], those at the head's taps together, not normalised. moves: float16 [clips, N,
    h, w], the share of every place's pixels that show something that moves by itself."""

    maps: Tensor
    moves: Tensor

    def __len__(self) -> int:
        return len(self.maps)

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every channel, [C, 1, 1], of a hundred clips."""
        some = self.maps[:: max(1, len(self) // 100)].float()
        places = (0, 1, 3, 4)
        return some.mean(places)[:, None, None], some.std(places)[:, None, None]


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
    head = network.dynamic
    assert head is not None
    maps, moves = [], []
    for number, seed in enumerate(seeds):
        clip = render_clips([seed], frames, *size, photos=photos if number % 2 else None)
        maps.append(_raw(head, network.maps_of_motion(clip.rgb)).half())
        rows, columns = maps[-1].shape[-2:]
        moves.append(F.adaptive_avg_pool2d(clip.moving[0].float(), (rows, columns))[:, 0].half())
        moved(number + 1)
    return MotionLessons(torch.stack(maps), torch.stack(moves))


def _raw(head: MotionHead, maps: dict[str, Tensor]) -> Tensor:
    """The maps [1, N, C, h, w] at the taps as one [N, C, h, w]."""
    return head.together([maps[tap] for tap in head.settings.taps])[0]
