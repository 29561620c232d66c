"""Masks of a video as they come frame by frame: what a step graph with the output `dynamic` will give, in PyTorch.

The algorithm is `vmdepth.networks.moving.causal_masks`: it knows nothing of the frames that follow.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vmdepth.dynamics.methods import Masks
from vmdepth.networks.moving.causal_masks import FORGETTING
from vmdepth.networks.moving.moving_network import MovingNetwork
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import WINDOW
from vmdepth.networks.multiview.single_view import SingleView
from vmdepth.networks.step_graph import StepGraph
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC, DYNAMIC_THRESHOLD
from vmdepth_runtime.progress import ProgressLine


def stream_masks(
    network: nn.Module,
    images: NDArray[np.uint8],
    window: int = WINDOW,
    forgetting: float = FORGETTING,
    progress: ProgressLine | None = None,
) -> Masks:
    """What moves in a video, of every frame by the frames before it alone.

    Args:
        network: as `vmdepth.load` gives it; one that tells what moves by itself is asked, of all others the attention.
        images: uint8 [T, H, W, 3], RGB; sides are multiples of the network's stride.
        window: frames that a network of any views remembers besides the first one.
        forgetting: what is left of a frame's weight with every frame that follows, 0.01 to 1.
        progress: told how many frames are done.

    Returns:
        The masks; they have no stages.

    Raises:
        InputError: a network that cannot tell, or has no step; frames of a size that it cannot have; forgetting that
            cannot be.
    """
    try:
        graph = StepGraph(_moving(network, window, forgetting), *images.shape[1:3])
        states = graph.model.init_states(1, *images.shape[1:3])
    except ValueError as error:
        raise InputError(str(error)) from None
    progress = progress or ProgressLine("streaming")
    progress.stage("streaming", len(images), "frames")
    soft = np.empty(images.shape[:3], np.float32)
    with torch.inference_mode():
        for number, image in enumerate(images):
            outputs, after = graph(torch.from_numpy(image[None]), states)
            states = graph.model.written(states, after)
            soft[number] = outputs[DYNAMIC][0].numpy()
            progress.update(number + 1)
    return Masks(soft, soft >= DYNAMIC_THRESHOLD, DYNAMIC_THRESHOLD, {})


def _moving(network: nn.Module, window: int, forgetting: float) -> StepNetwork:
    if isinstance(network, NestedDepth):
        network = network.views
    if isinstance(network, AnyViewDepth):
        network = CausalViews(network, window)
    elif isinstance(network, MonoDepth):
        network = SingleView(network)
    if not isinstance(network, StepNetwork):
        raise ValueError(f"{getattr(network, 'name', type(network).__name__)} has no step to stream")
    return network if DYNAMIC in network.extra_outputs else MovingNetwork(network, forgetting)
