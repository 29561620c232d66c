"""How right masks of moving things are: overlap with the truth, beside maps that anyone could draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from vmdepth.data.rgbd import RgbdFrame, depth_in_image, reproject
from vmdepth.dynamics.capture import look
from vmdepth.dynamics.first_pass import FirstPass
from vmdepth.dynamics.layers import blocks_of
from vmdepth.dynamics.mask_stages import METHODS, Method
from vmdepth.dynamics.methods import masks, needs
from vmdepth.dynamics.refinement.options import How
from vmdepth.dynamics.refinement.refine import refine
from vmdepth.dynamics.streaming import stream_masks
from vmdepth.evaluation.masks import MaskScore, Overlap, overlap, scored
from vmdepth.networks.moving.bands import relative_bands
from vmdepth_runtime.outputs import DYNAMIC_THRESHOLD

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Maps = Callable[["TrueClip"], Floats | Bools]
"""What a method makes of a clip: how much moves, float32 [T, H, W] in 0..1, or what does, bool."""

_FARTHEST = 1e4  # metres that the sky is off
_BLUR = 4.0  # pixels, deviation: single pixels differ for many reasons
_THRESHOLDS = np.geomspace(0.002, 0.5, 33)  # of differences of colours 0..1 that a best one is looked for in


@dataclass(frozen=True)
class TrueClip:
    """images: uint8 [T, H, W, 3]. moves: bool [T, H, W], what moves. depth: float32 [T, H, W], metres, inf sky.
    cam2world: [T, 4, 4]. intrinsics: [T, 3, 3], whole numbers at the centres of pixels."""

    images: NDArray[np.uint8]
    moves: Bools
    depth: Floats
    cam2world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def true_clip(frames: Iterable[RgbdFrame]) -> TrueClip:
    """A clip whose motion, poses and cameras are known, as rendered ones are. Raises ValueError for another."""
    images, moves, depths, poses, cameras = [], [], [], [], []
    for frame in frames:
        if frame.moving is None or frame.pose is None or frame.intrinsics is None:
            raise ValueError("what moves, where the camera stood and what it is are known of rendered clips")
        images.append(frame.image)
        moves.append(frame.moving)
        depths.append(depth_in_image(frame))
        poses.append(frame.pose)
        cameras.append(frame.intrinsics)
    return TrueClip(np.stack(images), np.stack(moves), np.stack(depths), np.stack(poses), np.stack(cameras))


def streaming(network: nn.Module) -> Maps:
    """What a network says frame by frame, by its motion head or, without one, by its attention; of clips at a size that
    it can have."""
    return lambda clip: stream_masks(network, clip.images).soft


def attention_methods(network: nn.Module, refined_by: Sequence[How] = ("residual", "gradient")) -> dict[str, Maps]:
    """Every method of `METHODS` by a network's attention, its blocks by relative depth, and the streaming one.

    Args:
        network: one with attention, as `vmdepth.load` gives it.
        refined_by: how "full" checks its masks, a row for each: by true depth and cameras, so that what is compared is
            the masks, and not the network's depth.

    Returns:
        By name, for `compare`; a clip is gone through once for all of them.

    Raises:
        InputError: a network without attention.
    """
    choice = relative_bands(blocks_of(network).candidates)
    wanted = list(dict.fromkeys(statistic for method in METHODS for statistic in needs(method, choice)))
    last: list[tuple[TrueClip, FirstPass]] = []

    def first(clip: TrueClip) -> FirstPass:
        if not last or last[0][0] is not clip:
            last[:] = [(clip, look(network, clip.images, wanted))]
        return last[0][1]

    def found(method: Method) -> Maps:
        return lambda clip: masks(first(clip), method, choice).moves

    def refined(how: How) -> Maps:
        return lambda clip: refined_by_truth(clip, masks(first(clip), "full", choice).moves, how)

    plain: dict[str, Maps] = {name: found(name) for name in METHODS if name != "full"}
    full = {f"full, {how}": refined(how) for how in refined_by}
    return {**plain, **full, "streaming": streaming(network)}


def refined_by_truth(clip: TrueClip, moves: Bools, how: How) -> Bools:
    """Masks, bool [T, H, W], refined by true depth and cameras."""
    corners = clip.intrinsics.copy()
    corners[:, :2, 2] += 0.5  # from the outer corner of the first pixel
    return refine(clip.images, clip.depth, moves, clip.cam2world, corners, how).masks


def all_moves(clip: TrueClip) -> Bools:
    """That everything moves: its IoU is the share of pixels that do."""
    return np.ones(clip.moves.shape, bool)


def difference_after_camera(clip: TrueClip) -> Floats:
    """How much colours 0..1 differ from the frame before once the camera's own motion is undone by true depth and
    poses, a little blurred: float32 [T, H, W], 0 in the first frame and where the frame before did not see.

    What was hidden before differs as well, which no map of two frames can tell from what moves.
    """
    found = np.zeros(clip.moves.shape, np.float32)
    colours = clip.images.astype(np.float32) / np.float32(255)
    depth = np.where(np.isinf(clip.depth), np.float32(_FARTHEST), clip.depth)
    height, width = clip.moves.shape[1:]
    for t in range(1, len(found)):
        to_before = np.linalg.inv(clip.cam2world[t - 1]) @ clip.cam2world[t]
        _, places = reproject(depth[t], clip.intrinsics[t], to_before, clip.intrinsics[t - 1])
        x, y = places[..., 0], places[..., 1]
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        before = cv2.remap(colours[t - 1], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        off = np.abs(before - colours[t]).mean(axis=-1)
        found[t] = cv2.GaussianBlur(np.where(inside, off, np.float32(0)), (0, 0), _BLUR)
    return found


def compare(clips: Iterable[TrueClip], methods: Mapping[str, Maps]) -> dict[str, MaskScore]:
    """The table: the score of every method, and below them the trivial maps' on the same clips.

    Args:
        clips: gone through once, one in memory at a time.
        methods: by name; soft maps are cut at `DYNAMIC_THRESHOLD`.

    Returns:
        By name, in the order of `methods`; then "all moves", and "difference after the camera's motion" at the
        threshold that is best on these clips.
    """
    found: dict[str, list[Overlap]] = {name: [] for name in (*methods, "all moves")}
    differences: list[list[Overlap]] = [[] for _ in _THRESHOLDS]
    for clip in clips:
        for name, method in {**methods, "all moves": all_moves}.items():
            said = method(clip)
            # True is 1, above the threshold, so what is a mask already stays as it is.
            found[name].append(overlap(np.asarray(said >= DYNAMIC_THRESHOLD), clip.moves))
        difference = difference_after_camera(clip)
        for threshold, overlaps in zip(_THRESHOLDS, differences, strict=True):
            overlaps.append(overlap(difference >= threshold, clip.moves))
    scores = {name: scored(overlaps) for name, overlaps in found.items()}
    cut = [scored(overlaps, float(threshold)) for threshold, overlaps in zip(_THRESHOLDS, differences, strict=True)]
    return {**scores, "difference after the camera's motion": max(cut, key=lambda score: score.iou or 0.0)}
