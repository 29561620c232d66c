"""Networks that tell the student what depth a clip has."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.checkpoint import load
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.nested_depth import NothingButSkyError
from vmdepth.networks.multiview.views import Views
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.outputs import SKY_THRESHOLD

_RANGE = 200.0
"""Of a network of depth (not of its inverse): farther than its median by this is as good as the sky, and nearer by this
is as near as anything gets."""


class Teacher:
    """A network as it was loaded, in eval mode and without gradients: it never learns.

    path: a checkpoint of Depth Anything V2 (sees every frame alone), Video Depth Anything (its clip network: all frames
    of a clip see each other), Depth Anything 3 (attention over all views of the clip), or our own. Raises InputError
    where it cannot be loaded.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        network = load(path)
        self.longest_clip: int | None = None  # frames; None: any number
        if isinstance(network, VideoDepth):
            network = network.with_head(network.config.head.offline)
            self.longest_clip = network.longest_clip
        self.network = (network.unmasked() if isinstance(network, CausalViews) else network).to(device)
        self.path = path
        self.stride = network.stride

    @torch.no_grad()
    def __call__(self, clip: Tensor) -> Tensor:
        """clip [B, N, 3, H, W] in 0..1 → inverse depth [B, N, 1, H, W], ≥ 0, up to scale and (networks of inverse
        depth) shift: one for the whole clip, but one per frame where the teacher sees every frame alone.

        A clip whose sides are no multiples of its stride, as the student's may be, it sees at the nearest size.
        """
        size = clip.shape[-2:]
        fitting = [max(self.stride, round(side / self.stride) * self.stride) for side in size]
        if fitting == list(size):
            return self._asked(clip)
        seen = F.interpolate(clip.flatten(0, 1), fitting, mode="bilinear", antialias=True)
        said = self._asked(seen.unflatten(0, clip.shape[:2]))
        return F.interpolate(said.flatten(0, 1), size, mode="bilinear").unflatten(0, clip.shape[:2])

    def _asked(self, clip: Tensor) -> Tensor:
        network = self.network
        if isinstance(network, VideoDepth):
            depth, _ = network(clip)
            return depth if DEPTH_KINDS[network.depth_kind].inverse else 1 / depth.clamp_min(1e-3)
        # One clip a call: views of several would lend each other scale and sky.
        return torch.stack([inverse_of_views(network, one) for one in clip])


def inverse_of_views(network: nn.Module, clip: Tensor) -> Tensor:
    """What a network of views says about one clip [N, 3, H, W]: [N, 1, H, W], 0 in the sky, which may be all of it."""
    try:
        return _inverse(network(clip[None]))
    except NothingButSkyError:
        return torch.zeros_like(clip[:, :1])


def _inverse(views: Views) -> Tensor:
    """Of what a network of depth says about one clip: [N, 1, H, W], 0 in the sky."""
    depth = views.depth[0]
    sky = views.sky[0] >= SKY_THRESHOLD if views.sky is not None else torch.zeros_like(depth, dtype=torch.bool)
    ground = depth[~sky]
    middle = (ground if ground.numel() else depth).nanmedian().clamp_min(1e-6)
    return torch.where(sky | (depth >= _RANGE * middle), 0, 1 / depth.clamp_min(middle / _RANGE)).unsqueeze(1)
