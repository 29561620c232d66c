"""The encoder of Depth Anything 3 as that of a network of videos: every frame is a scene of one view."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmdepth.networks.decoder import Decoder, Output
from vmdepth.networks.encoder import Encoder, Observer
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.encoder import ViewEncoder, each_observed
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.presets import MONO, VIEW_PRESETS, AnyViewConfig

VIEWS, MONO_NAME = {f"da3-{size}": views for size, views in VIEW_PRESETS.items()}, f"da3mono-{MONO.encoder}"
"""These encoders by name, and the name of the one of the networks for single images, which is an `Encoder`."""


class OneViewEncoder(ViewEncoder):
    """Images → the four taps that an any-view network has of each alone.

    views: the network's. `forward(images, observe)`: images [n, 3, H, W], normalised. Returns four tensors
    [n, h·w, 2·width]. Every image is its own reference view, so there is one camera token only.
    """

    usual_size = Encoder.usual_size

    def __init__(self, views: AnyViewConfig) -> None:
        super().__init__(views.encoder, views.taps, views.start)
        self.camera_token = nn.Parameter(torch.zeros(1, 1, self.size.width))

    def forward(self, images: Tensor, observe: Observer | None = None) -> list[Tensor]:  # type: ignore[override]
        alone = (lambda _, *inputs: self.through(*inputs)) if observe is None else each_observed(observe)
        taps, _ = super().forward(images, over_views=alone, observe=observe)
        return taps

    def begin(self) -> list[nn.Module | nn.Parameter]:
        return [*super().begin(), self.camera_token]


class OneViewDecoder(Decoder):
    """A decoder that normalises the taps first: their first half comes raw from the middle of the encoder."""

    def __init__(
        self, width: int, stride: int, features: int, out_channels: tuple[int, int, int, int], output: Output
    ) -> None:
        super().__init__(width, stride, features, out_channels, output)
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def project(self, level: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return super().project(level, self.norm(tokens), grid)


def lent_by(network: AnyViewDepth | MonoDepth) -> tuple[str, dict[str, Tensor]]:
    """The name of the encoder that a network of Depth Anything 3 can lend a network of videos, and its weights."""
    weights = network.encoder.state_dict()
    if isinstance(network, MonoDepth):
        return MONO_NAME, weights
    return f"da3-{network.config.encoder}", weights | {"camera_token": weights["camera_token"][:, :1]}
