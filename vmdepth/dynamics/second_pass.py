"""The second pass over a video: what moves is left out of what tells the network where the cameras are.

VGGT4D (arXiv 2511.19971): keys and values of patches that move are removed in early blocks, so that no query takes
anything from them there; all queries stay. Kept of it are the cameras. Depth stays that of the first pass, in which
what moves was seen; the depth here is for comparison.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vmdepth.dynamics.mask_stages import EXTENTS, Extent
from vmdepth.dynamics.passes import AT_A_TIME, WINDOW, ViewPasses
from vmdepth.networks.encoder import PATCH, check_size
from vmdepth.networks.leave_out import LeaveOut
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.encoder import ViewEncoder
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.reference_view import Reference
from vmdepth.networks.observer import Observer
from vmdepth.official.preparation import as_clip
from vmdepth.views.network import to_views
from vmdepth.views.windows import Chain, View
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.progress import ProgressLine

Blocks: TypeAlias = Extent | int | Collection[int]

_EARLY = 5 / 24  # VGGT4D's released code masks the first 5 of the 24 blocks of VGGT that see all views
_FIRST_EIGHT = range(1, 9)
_BLIND = Observer(lambda one: None, parts=())


@dataclass(frozen=True)
class SecondPass:
    """T frames as the network saw them with what moves left out, at the scale of the first pass.

    Attributes:
        depth: float32 [T, H, W], larger is farther.
        extrinsics: float64 [T, 3, 4], world to camera, where the world is the first frame's camera; None from a network
            that tells no cameras.
        scale: what the network's own depth and translations were multiplied by.
    """

    depth: NDArray[np.float32]
    extrinsics: NDArray[np.float64] | None
    scale: float


def second_pass(
    network: nn.Module,
    images: NDArray[np.uint8],
    moves: NDArray[np.bool_],
    *,
    depth: NDArray[np.float32],
    reference: int,
    strategy: Reference = "saddle_balanced",
    blocks: Blocks = "early",
    window: int = WINDOW,
    memory_budget: int | str | None = None,
    progress: ProgressLine | None = None,
) -> SecondPass:
    """Runs the network over a video again, without what moves.

    Args:
        network: an any-view network of Depth Anything 3, the nested one, or a causal one, of which the mask over time
            is taken off.
        images: uint8 [T, H, W, 3], RGB; sides are multiples of 14.
        moves: bool [T, H, W], what moves. A patch is left out if one of its pixels moves.
        depth: of the first pass, [T, H, W], by whose pixels that stand still the scale is found.
        reference: the view that was the others' reference in the first pass, from 0; of several windows, in the first.
        strategy: how later windows chose theirs. They choose it again before views see each other: the same one, unless
            blocks as early as that are among those where something is left out.
        blocks: where keys and values are left out; see `masked_blocks`.
        window: frames that see each other, as in the first pass; 0: all of them. Windows are put together as there, by
            what stands still.
        memory_budget: what one window may take, as for `AnyViewDepth`.
        progress: told how many blocks of all windows are done.

    Raises:
        InputError: a network whose views do not see each other, masks or depth of other frames, no such block or
            reference, sizes, a window or a budget that do not fit.
        WorkError: windows that cannot be aligned.
    """
    for name, array in (("masks", moves), ("depth of the first pass", depth)):
        if array.shape != images.shape[:3]:
            raise InputError(f"{name} {list(array.shape)}: these frames need {list(images.shape[:3])}")
    views = _views_network(network)
    where = masked_blocks((views.views if isinstance(views, NestedDepth) else views).encoder, blocks)
    passes = ViewPasses(views, window, strategy, memory_budget)
    windows = passes.windows(len(images))
    progress = progress or ProgressLine("looking")
    progress.stage("looking again, without what moves", *passes.steps(len(images)))
    chain, said = Chain(), list[View]()
    try:
        check_size(images.shape[1], images.shape[2], PATCH)
        for number, frames in enumerate(windows):
            part = slice(frames.start, frames.stop)
            whose = strategy if number else reference
            watch = passes.counting(_BLIND, number, frames, progress.update)
            told = _without(views, images[part], moves[part], where, whose, memory_budget, watch)
            following = windows[number + 1].start if number + 1 < len(windows) else len(images)
            said += [view for _, view in chain.add(frames.start, told, following)]
    except ValueError as error:
        raise InputError(str(error)) from None
    return _at_scale(said, depth, ~moves)


def _at_scale(said: Sequence[View], depth: NDArray[np.float32], still: NDArray[np.bool_]) -> SecondPass:
    own = np.stack([view.depth for view in said])
    scale = scale_to(own, depth, still)
    cameras = [view.extrinsics for view in said if view.extrinsics is not None]
    extrinsics = np.stack(cameras) if cameras else None
    if extrinsics is not None:
        extrinsics[..., 3] *= scale
    return SecondPass(own * np.float32(scale), extrinsics, scale)


@torch.inference_mode()
def _without(
    network: AnyViewDepth | NestedDepth,
    images: NDArray[np.uint8],
    moves: NDArray[np.bool_],
    blocks: tuple[int, ...],
    reference: Reference | int,
    memory_budget: int | str | None,
    observe: Observer,
) -> list[View]:
    """What the network says of one window.

    What moves counts as sky there, by which no windows are aligned, but for frames in which all of it moves.
    """
    weight = next(network.parameters())
    clip = torch.from_numpy(as_clip(list(images)))[None].to(weight)
    patches = torch.from_numpy(patches_that_move(moves))[None].to(weight.device)
    out = network(
        clip,
        reference=reference,
        leave_out=LeaveOut(patches, blocks),
        memory_budget=memory_budget,
        chunk=None if memory_budget else AT_A_TIME,
        observe=observe,
    )
    sky = torch.from_numpy(moves & ~moves.all(axis=(1, 2), keepdims=True))[None].to(out.depth)
    return to_views(replace(out, sky=sky if out.sky is None else sky.maximum(out.sky)), None, alone=False)


def masked_blocks(encoder: ViewEncoder, blocks: Blocks) -> tuple[int, ...]:
    """The numbers of the blocks, from 0, in which keys and values are left out.

    Args:
        encoder: of the network.
        blocks: "early": the first of the blocks that see all views, as many by the network's depth as VGGT4D's released
            code masks of its own 24, which is 5 (it also masks the frame's own attention before each of them); one at
            least. Masking all of them made cameras worse than masking none there. "first_eight": blocks 1 to 8,
            whatever they see; in Depth Anything 3 the first of them see one view each. A number k: the first k blocks
            that see all views. Or the numbers of the blocks.

    Raises:
        InputError: no such choice, or no such block.
    """
    seeing, depth = encoder.global_blocks, encoder.size.depth
    if blocks == "early":
        return tuple(seeing[: max(1, round(_EARLY * len(seeing)))])
    if blocks == "first_eight":
        return tuple(_FIRST_EIGHT)
    if isinstance(blocks, str):
        raise InputError(f"blocks '{blocks}': it can be {', '.join(EXTENTS)}, or numbers of blocks")
    if isinstance(blocks, int):
        if not 0 <= blocks <= len(seeing):
            numbers = ", ".join(map(str, seeing))
            raise InputError(f"the first {blocks} blocks: of this network {len(seeing)} see all views ({numbers})")
        return tuple(seeing[:blocks])
    wrong = sorted(block for block in blocks if not 0 <= block < depth)
    if wrong:
        raise InputError(f"block {wrong[0]}: this network has blocks 0 to {depth - 1}")
    return tuple(sorted(set(blocks)))


def patches_that_move(moves: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Masks [T, H, W] of sides that are multiples of 14 → [T, H/14, W/14]: whether one of a patch's pixels moves."""
    frames, height, width = moves.shape
    return np.any(moves.reshape(frames, height // PATCH, PATCH, width // PATCH, PATCH), axis=(2, 4))


def scale_to(source: NDArray[np.float32], target: NDArray[np.float32], still: NDArray[np.bool_]) -> float:
    """What brings depth to the scale of another of the same pixels: the median of their ratios over those still.

    Where nothing is still, over all. Depth that is not finite and above 0 does not count; 1 where none is.
    """
    there = np.isfinite(source) & (source > 0) & np.isfinite(target) & (target > 0)
    if (there & still).any():
        there &= still
    return float(np.median(target[there].astype(np.float64) / source[there])) if there.any() else 1.0


def _views_network(network: nn.Module) -> AnyViewDepth | NestedDepth:
    if isinstance(network, CausalViews):
        return network.unmasked()
    if isinstance(network, AnyViewDepth | NestedDepth):
        return network
    raise InputError("a second pass needs a network whose views see each other: an any-view one of Depth Anything 3")
