"""`SingleView`: a network of Depth Anything 3 on one picture at a time, which is how it streams without a memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vmdepth.networks.encoder import PATCH, Encoder, Observer, check_size
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.decoder import SkyDecoder, depth_and_confidence
from vmdepth.networks.multiview.encoder import ViewEncoder, each_observed
from vmdepth.networks.multiview.mono_depth import METRIC_FOCAL, MonoDepth, with_far_sky_each
from vmdepth.networks.multiview.presets import MonoConfig
from vmdepth.networks.multiview.views import imagenet_normalised
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.contract import Ring


class SingleView(StepNetwork):
    """An any-view network with one view, or the network for single images, as a network without states.

    It shares the weights of the network that it is made of, but for a camera encoder, as nobody gives it cameras.
    """

    stride = PATCH
    usual_size = (252, 336)
    ring = None
    cycle = None

    def __init__(self, network: AnyViewDepth | MonoDepth) -> None:
        super().__init__()
        self.config = network.config
        self.name = f"Depth Anything 3 {network.name}"
        self.encoder: Encoder = network.encoder
        self.decoder = network.decoder
        self.camera_decoder = network.camera_decoder if isinstance(network, AnyViewDepth) else None
        self.depth_kind = "scaled"
        if isinstance(network, MonoDepth):
            self.extra_outputs = ("sky",)
            if network.config.metric:
                self.depth_kind, self.metric_focal = "metric", METRIC_FOCAL
        else:
            self.extra_outputs = ("confidence", "pose") if self.camera_decoder is not None else ("confidence",)

    def state_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        check_size(height, width, PATCH)
        return {}

    def outputs(
        self, frame: Tensor, states: StateTensors, observe: Observer | None = None
    ) -> tuple[dict[str, Tensor], StateTensors]:
        """As of any `StepNetwork`; the descriptor is the mean of the last tap's normalised half."""
        return self.of_normalised(imagenet_normalised(frame), observe), {}

    def of_normalised(self, images: Tensor, observe: Observer | None = None) -> dict[str, Tensor]:
        """`outputs` of images [B, 3, H, W] that ImageNet statistics are taken off already."""
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        if isinstance(self.decoder, SkyDecoder):
            maps = self.encoder(images, observe)
            decoded = self.decoder(maps, grid)
            assert decoded.sky is not None
            own = {"depth": with_far_sky_each(decoded.depth, decoded.sky), "sky": decoded.sky}
        else:
            assert isinstance(self.encoder, ViewEncoder)
            maps, token = self.encoder(images, over_views=each_observed(observe), observe=observe)
            own = depth_and_confidence(self.decoder, maps, grid)
            if self.camera_decoder is not None:
                own["pose"] = self.camera_decoder(token)
        return {**own, "descriptor": F.normalize(self.encoder.describe(maps), dim=-1)}

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        self.encoder.fold(height, width)
        self.decoder.fold(height, width)

    def remembering(self, ring: Ring | None) -> StepNetwork:
        if ring is None:
            return self
        if isinstance(self.config, MonoConfig):
            raise ValueError(f"{self.name} looks at every frame alone: it has no states to keep in rings")
        return CausalViews(self).remembering(ring)
