"""Depth of a whole video by a network that sees the future, too: the official inference of Video Depth Anything.

The clip network sees windows of 32 frames. Ten of them were in the window before: two key frames and eight that
overlap. Depth of every window is brought to the scale and shift of the one before by the key frames, and blended with
it over the overlap (Chen et al. 2025, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmdepth.fitting import fit_affine
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.preparation import depth_at, prepare_frame
from vmdepth_runtime.depth_kinds import DEPTH_KINDS

WINDOW = 32
STEP = 22
_KEYFRAMES = (0, 12)  # of the window before, seen again as the first two of the next
_OVERLAP = range(24, 32)  # of the window before, seen again as the third to tenth
_SHARED = len(_KEYFRAMES) + len(_OVERLAP)

Depth = NDArray[np.float32]
Image = NDArray[np.uint8]


def offline_depth(model: VideoDepth, frames: Sequence[Image], size: int = 518) -> Depth:
    """Depth of a video that is in memory, every frame with its future in sight.

    Relative depth is aligned to the first window; metric depth is only blended.

    Args:
        model: a Video Depth Anything loaded with temporal="bidirectional".
        frames: uint8 [H, W, 3], RGB, all of one size, at least one.
        size: the shorter side that the network sees, pixels.

    Returns:
        float32 [N, H, W].

    Raises:
        ValueError: another form of the network, or no frames.
    """
    if not len(frames):
        raise ValueError("no frames")
    bring_back = partial(depth_at, height=frames[0].shape[0], width=frames[0].shape[1])
    return np.stack(list(offline_depths(model, frames, partial(prepare_frame, size=size), bring_back)))


def offline_depths(
    model: VideoDepth,
    frames: Iterable[Image],
    prepare: Callable[[Image], Depth],
    bring_back: Callable[[Depth], Depth],
) -> Iterator[Depth]:
    """The same for a video of any length, in the memory of two windows: up to 32 frames are read ahead.

    Args:
        model: a network that sees the whole clip.
        frames: uint8 [H, W, 3], RGB, all of one size.
        prepare: makes of a frame what the network sees, float32 [h, w, 3].
        bring_back: makes of its depth, float32 [h, w], that of the frame, [H, W].

    Yields:
        float32 [H, W], of one frame after the other.

    Raises:
        ValueError: another form of the network.
    """
    if model.can_step:
        raise ValueError("offline inference needs a network loaded with temporal='bidirectional'")
    shifted = DEPTH_KINDS[model.depth_kind].shifted
    prepared = map(prepare, frames)
    inputs: list[Depth] = []
    pending: list[Depth] = []  # depth that the next window may still change, and what lies before it
    references: list[Depth] = []
    seen = given = start = 0
    while True:
        shared = [inputs[slot] for slot in (*_KEYFRAMES, *_OVERLAP)] if inputs else []
        new = list(islice(prepared, WINDOW - len(shared)))
        seen += len(new)
        if start + len(_KEYFRAMES) * bool(inputs) >= seen:  # of this window nothing would be used
            yield from pending[: seen - given]
            return
        last = new[-1] if new else inputs[-1]
        inputs = (shared + new + [last] * WINDOW)[:WINDOW]
        depth = list(map(bring_back, clip_depth(model, inputs)[0]))
        if not pending:
            pending, references = depth, [depth[slot] for slot in _KEYFRAMES]
        else:
            fit = (1.0, 0.0) if not shifted else fit_affine(np.stack(depth[: len(_KEYFRAMES)]), np.stack(references))
            aligned = [np.maximum(fit[0] * frame + fit[1], 0).astype(np.float32) for frame in depth]
            _blend(pending, aligned[len(_KEYFRAMES) : _SHARED])
            pending += aligned[_SHARED:]
            references = [references[0], aligned[_KEYFRAMES[1]]]
        ready = min(len(pending) - len(_OVERLAP), seen - given)
        yield from pending[:ready]
        pending, given, start = pending[ready:], given + ready, start + STEP


@torch.inference_mode()
def clip_depth(
    model: VideoDepth, inputs: Sequence[Depth], states: dict[str, Tensor] | None = None
) -> tuple[Depth, dict[str, Tensor]]:
    """Pictures float32 [h, w, 3] as one clip → their depth float32 [N, h, w], and the states after it."""
    clip = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2)[None].to(next(model.parameters()))
    depth, after = model(clip, states)
    return depth[0, :, 0].float().cpu().numpy(), after


def _blend(pending: list[Depth], overlap: Sequence[Depth]) -> None:
    """Let the end of the depth before go over into the same frames' depth in the next window."""
    for index, frame in enumerate(overlap):
        weight = np.float32(index / (len(overlap) - 1))
        place = index - len(overlap)
        pending[place] = (1 - weight) * pending[place] + weight * frame
