"""Clips cut from videos: which frames, which part of the picture, brought to the training size."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.data.clips import STILL, TrainingClips
from vmdepth.data.flow import optical_flow
from vmdepth.data.videos import Footage, Unreadable, Video

_ASPECTS = 5 / 4, 16 / 9
"""Width by height of what cameras give."""

_ATTEMPTS = 10
"""Places of a video tried before it is given up: damage is mostly in one of them."""


def cut(
    video: Video, rng: np.random.Generator, length: int, stride: int, height: int, width: int, with_still: bool
) -> TrainingClips:
    """One clip of `length` frames, every s-th frame with s drawn from 1 … stride, from a random place of the video.

    The same random part of the picture, mirrored or not, in all of its frames. with_still: find out by optical flow
    (Kroeger et al. 2016, OpenCV's DIS), and by masks where there are some, what stands still. Raises Unreadable where
    no place could be read.
    """
    for attempt in range(_ATTEMPTS):
        frames = draw_frames(video, rng, length, stride)
        try:
            footage = video.read(frames)
            break
        except Unreadable:
            if attempt == _ATTEMPTS - 1:
                raise
    return _as_clip(video.name, frames, _crop(footage, rng, height, width), with_still)


def draw_stretch(rng: np.random.Generator, height: int, width: int) -> float:
    """How many times as high as wide a film of a random shape shows things once it is brought to height × width, each
    axis on its own, as `vmdepth-run` does it."""
    return float(np.exp(rng.uniform(*np.log(_ASPECTS)))) * height / width


def draw_frames(video: Video, rng: np.random.Generator, length: int, stride: int) -> list[int]:
    """Numbers of the frames of a clip, within one of the video's spans; a shorter stride where the span is short."""
    spans = [span for span in video.spans if len(span) >= length]
    span = spans[rng.choice(len(spans), p=np.array([len(span) for span in spans]) / sum(map(len, spans)))]
    most = (len(span) - 1) // max(length - 1, 1)
    step = int(rng.integers(1, min(stride, max(most, 1)) + 1))
    start = span[0] + int(rng.integers(len(span) - (length - 1) * step))
    return [start + step * n for n in range(length)]


def longest_clip(video: Video) -> int:
    """Frames of the longest clip that the video allows."""
    return max((len(span) for span in video.spans), default=0)


def _crop(footage: Footage, rng: np.random.Generator, height: int, width: int) -> Footage:
    """A random part of the picture, 70 to 100 % of what the shape allows, at the training size; stretched as films are
    (`draw_stretch`), and perhaps mirrored."""
    rows, columns = footage.images.shape[1:3]
    # Share of the picture's width per share of its height.
    across = width / height * rows / columns * draw_stretch(rng, height, width)
    tall = rng.uniform(0.7, 1.0) * min(1.0, 1 / across)
    wide = tall * across
    top, left = rng.uniform(0, 1 - tall), rng.uniform(0, 1 - wide)
    mirrored = rng.random() < 0.5

    def part(picture: NDArray[Any], how: int) -> NDArray[Any]:
        y, x = (round(start * side) for start, side in zip((top, left), picture.shape, strict=False))
        h, w = (max(1, round(share * side)) for share, side in zip((tall, wide), picture.shape, strict=False))
        resized = cv2.resize(picture[y : y + h, x : x + w], (width, height), interpolation=how)
        return resized[:, ::-1] if mirrored else resized

    images = np.stack([part(image, cv2.INTER_AREA) for image in footage.images])
    depth = footage.inverse_depth
    if depth is not None:  # nearest: what is unknown must not spread, and edges must stay edges
        depth = np.stack([part(one, cv2.INTER_NEAREST_EXACT) for one in depth])
    moving = footage.moving
    if moving is not None:
        moving = np.stack([part(one.view(np.uint8), cv2.INTER_NEAREST_EXACT) for one in moving]).view(bool)
    return Footage(images, depth, footage.metric, moving)


def _as_clip(name: str, frames: list[int], footage: Footage, with_still: bool) -> TrainingClips:
    rgb = torch.from_numpy(np.ascontiguousarray(footage.images)).permute(0, 3, 1, 2)[None].float() / 255
    count, _, height, width = rgb.shape[1:]
    depth = footage.inverse_depth
    labelled = depth is not None
    inverse = torch.full((1, count, 1, height, width), torch.nan)
    if depth is not None:
        inverse[0, :, 0] = torch.from_numpy(np.ascontiguousarray(depth))
    known = inverse.isfinite()
    return TrainingClips(
        rgb=rgb,
        inverse_depth=torch.where(known, inverse, 0),
        known=known,
        metric=torch.tensor([footage.metric]),
        labelled=torch.tensor([labelled]),
        videos=(name,),
        frames=torch.tensor([frames]),
        still=_still(footage) if with_still else None,
    )


def _still(footage: Footage) -> torch.Tensor:
    """bool [1, N, 1, H, W]: what moves by less than `STILL` pixels to the next frame; nothing in the last one.

    A mask says nothing of the camera, so what it leaves has to stand still by the flow, too. But where something passes
    that has no texture, or comes nearer, no flow is seen: what moves by a mask, in this frame or the next, does not
    stand still.
    """
    still = np.zeros((1, len(footage.images), 1, *footage.images.shape[1:3]), bool)
    for n, (now, following) in enumerate(itertools.pairwise(footage.images)):
        still[0, n, 0] = np.linalg.norm(optical_flow(now, following), axis=-1) < STILL
    if footage.moving is not None:
        still[0, :-1, 0] &= ~(footage.moving[:-1] | footage.moving[1:])
    return torch.from_numpy(still)
