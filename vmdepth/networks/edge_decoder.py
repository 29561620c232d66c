"""The decoder of the edge preset: DPT's fusion (Ranftl et al. 2021) on the pyramid that a convolutional encoder has."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks import mobilenet
from vmdepth.networks.decoder import LAYERS, PATHS, Fusion, Output, Tap, activate, fuse, upsample

_HALF, _WHOLE = 16, 8  # channels at half the size and at the whole of it, where every one costs


class Scene(nn.Module):
    """Adds what a map shows on average, the same everywhere, to another."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, features, 1)

    def forward(self, image: Tensor, shown: Tensor) -> Tensor:
        return image + self.conv(shown.mean(dim=(2, 3), keepdim=True))


class Sharpen(nn.Module):
    """Narrows the last path and adds the encoder's finest map."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.path = nn.Conv2d(features, width, 3, padding=1)
        self.edges = nn.Conv2d(mobilenet.EDGES, width, 1)

    def forward(self, path: Tensor, edges: Tensor) -> Tensor:
        return F.relu(self.path(path) + self.edges(edges))


class EdgeDecoder(nn.Module):
    """Five maps of `MobileNet` → depth.

    The last four are fused coarse to fine; what the whole picture shows on average joins the coarsest. The first, at
    half the size, only sharpens edges. `forward(maps, size, tap)`: size: height, width of the picture; tap: called with
    every name of `TAPS` as its map is made. Returns [images, 1, *size], ≥ 0.
    """

    def __init__(self, features: int, output: Output) -> None:
        super().__init__()
        self.features, self.output = features, output
        layers = mobilenet.LAYERS
        self.reduce = nn.ModuleList(nn.Conv2d(channels, features, 3, padding=1, bias=False) for channels in layers)
        self.scene = Scene(layers[-1], features)
        self.fusions = nn.ModuleList(Fusion(features, has_skip=number > 0) for number in range(len(layers)))
        self.output_conv1 = Sharpen(features, _HALF)
        self.output_conv2 = nn.Sequential(nn.Conv2d(_HALF, _WHOLE, 3, padding=1), nn.ReLU(), nn.Conv2d(_WHOLE, 1, 1))

    @staticmethod
    def tap_size(tap: str, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the map at a tap, for an input of height × width pixels."""
        strides = dict(zip(LAYERS, mobilenet.STRIDES[1:], strict=True)) | dict(zip(PATHS, (16, 8, 4, 2), strict=True))
        return height // strides[tap], width // strides[tap]

    def tap_channels(self, tap: str) -> int:
        """Channels of the map at a tap."""
        return mobilenet.LAYERS[LAYERS.index(tap)] if tap in LAYERS else self.features

    def forward(self, maps: list[Tensor], size: tuple[int, int], tap: Tap) -> Tensor:
        edges, *layers = maps
        layers = [tap(name, image) for name, image in zip(LAYERS, layers, strict=True)]
        skips = [reduce(layer) for reduce, layer in zip(self.reduce, layers, strict=True)]
        skips[-1] = self.scene(skips[-1], layers[-1])
        path = fuse(list(self.fusions), skips, tap)
        return activate(self.output_conv2(upsample(self.output_conv1(path, edges), size)), self.output)

    def fold(self, height: int, width: int) -> None:
        """Nothing here has a plainer form."""
