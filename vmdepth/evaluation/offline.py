"""Official inference of Video Depth Anything over a whole video: what streaming is measured against.

The clip network sees windows of 32 frames. Ten of them were in the window before: two key frames and eight that
overlap. Depth of every window is brought to the scale and shift of the one before by the key frames, and blended with
it over the overlap (Chen et al. 2025, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmdepth.evaluation.accuracy import fit_affine
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.preparation import depth_at, prepare_frame

WINDOW = 32
STEP = 22
_KEYFRAMES = (0, 12)  # of the window before, seen again as the first two of the next
_OVERLAP = range(24, 32)  # of the window before, seen again as the third to tenth
_SHARED = len(_KEYFRAMES) + len(_OVERLAP)


@torch.inference_mode()
def offline_depth(model: VideoDepth, frames: Sequence[NDArray[np.uint8]], size: int = 518) -> NDArray[np.float32]:
    """Depth of a video, every frame with its future in sight.

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
    if model.can_step:
        raise ValueError("offline inference needs a network loaded with temporal='bidirectional'")
    if not len(frames):
        raise ValueError("no frames")
    metric = model.config.depth == "metric"
    finished: list[NDArray[np.float32]] = []
    references: list[NDArray[np.float32]] = []
    inputs: list[Tensor] = []
    for start in range(0, len(frames), STEP):
        shared = [inputs[slot] for slot in (*_KEYFRAMES, *_OVERLAP)] if inputs else []
        new = range(start + len(shared), start + WINDOW)
        inputs = shared + [_prepared(frames[min(number, len(frames) - 1)], size) for number in new]
        depth = _window_depth(model, inputs, *frames[0].shape[:2])
        if not finished:
            finished = list(depth)
            references = [depth[slot] for slot in _KEYFRAMES]
            continue
        scale, shift = (1.0, 0.0) if metric else fit_affine(np.stack(depth[: len(_KEYFRAMES)]), np.stack(references))
        aligned = [np.maximum(scale * frame + shift, 0).astype(np.float32) for frame in depth]
        overlap = aligned[len(_KEYFRAMES) : _SHARED]
        for index, frame in enumerate(overlap):
            weight = np.float32(index / (len(overlap) - 1))
            last = index - len(overlap)
            finished[last] = (1 - weight) * finished[last] + weight * frame
        finished += aligned[_SHARED:]
        references = [references[0], aligned[_KEYFRAMES[1]]]
    return np.stack(finished[: len(frames)])


def _prepared(frame: NDArray[np.uint8], size: int) -> Tensor:
    return torch.from_numpy(prepare_frame(frame, size)).permute(2, 0, 1)


def _window_depth(model: VideoDepth, inputs: list[Tensor], height: int, width: int) -> list[NDArray[np.float32]]:
    clip = torch.stack(inputs)[None].to(next(model.parameters()).device)
    depth, _ = model(clip)
    return [depth_at(frame, height, width) for frame in depth[0, :, 0].cpu().numpy()]
