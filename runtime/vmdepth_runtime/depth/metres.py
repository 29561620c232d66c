"""Metres of networks that were taught one focal length: what their depth, and the way of their camera, is multiplied
with for another one."""

from __future__ import annotations

import numpy as np

from vmdepth_runtime.camera.lens import ASSUMED_FOV, Lens
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.sessions.base import StepOutputs


def needed_lens(contract: StepContract, lens: Lens | None) -> Lens | None:
    """What a network's metres take: the lens that is given, one that is assumed, or None where it needs none."""
    if contract.metric_focal is None:
        return None
    return lens or Lens.assume()


def metric_scale(contract: StepContract, lens: Lens, height: int, width: int) -> float:
    """What depth of a network with a `metric_focal` is multiplied with.

    Metres are depth × focal length / metric_focal, the focal length being the mean of both axes in pixels of the
    graph's frame (the official code of Depth Anything 3). Each axis was resized on its own.

    Args:
        contract: of the network.
        lens: of the camera.
        height: of its frames, pixels.
        width: likewise.

    Raises:
        InputError: the lens does not fit such frames.
    """
    assert contract.metric_focal is not None
    camera = lens.camera(width, height).scaled(contract.width / width, contract.height / height)
    return (camera.fx + camera.fy) / 2 / contract.metric_focal


def scale_pose(contract: StepContract, outputs: StepOutputs, scale: float) -> StepOutputs:
    """Bring the translation of a `pose` to the unit of a depth that was multiplied.

    Args:
        contract: of the network. Depth with an unknown shift has no unit that a translation could share.
        outputs: of one frame, of one stream or all; left as they are.
        scale: what the depth was multiplied with, for metres or by key frames.

    Returns:
        The outputs; where there is something to do, with a pose of their own.
    """
    if scale == 1.0 or "pose" not in outputs or contract.depth_meaning.shifted:
        return outputs
    pose = outputs["pose"].copy()
    pose[..., :3] *= np.float32(scale)
    return {**outputs, "pose": pose}


def assumption(contract: StepContract) -> str:
    """A line for people whose camera nobody has told."""
    return (
        f"{contract.model} needs the camera's focal length for metres; assumes that the longer side of a frame spans "
        f"{ASSUMED_FOV:g} degrees; --fov DEGREES (of its width), or --intrinsics FX,FY,CX,CY|FILE, says it"
    )
