"""The DPT decoder (Ranftl et al. 2021) in the form of Depth Anything V2, official names, with named taps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A tap sees a feature map [images, C, h, w] by its name and returns what goes on in its place.
Tap = Callable[[str, Tensor], Tensor]
Output = Literal["relu", "softplus", "sigmoid"]

LAYERS = ("layer_1", "layer_2", "layer_3", "layer_4")  # reassembled maps, fine to coarse
PATHS = ("path_4", "path_3", "path_2", "path_1")  # fused maps, coarse to fine, in the order they are made
TAPS = LAYERS + PATHS

# Images that are brought to full size together where nothing learns: their maps there are the largest of all.
_AT_ONCE = 4


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions beside the identity: maps [images, features, h, w] → the same shape."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(F.relu(x)))) + x


class Fusion(nn.Module):
    """Adds the finer map to the coarser path and upsamples to `size` (rows, columns)."""

    def __init__(self, features: int, has_skip: bool) -> None:
        super().__init__()
        if has_skip:
            self.resConfUnit1 = ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, path: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        # Officially the 1×1 convolution follows the upsampling. Bilinear weights sum to one, so the two commute, and
        # this order computes a quarter of the products.
        return upsample(self.out_conv(self.resConfUnit2(path)), size)


class Scratch(nn.Module):
    """The convolutions after reassembly, under their official names: what brings every level to `features` channels,
    the four fusions, and the last convolutions, of `outputs` channels."""

    def __init__(self, features: int, out_channels: tuple[int, int, int, int], outputs: int = 1) -> None:
        super().__init__()
        self.layer1_rn = nn.Conv2d(out_channels[0], features, 3, padding=1, bias=False)
        self.layer2_rn = nn.Conv2d(out_channels[1], features, 3, padding=1, bias=False)
        self.layer3_rn = nn.Conv2d(out_channels[2], features, 3, padding=1, bias=False)
        self.layer4_rn = nn.Conv2d(out_channels[3], features, 3, padding=1, bias=False)
        self.refinenet1 = Fusion(features, has_skip=True)
        self.refinenet2 = Fusion(features, has_skip=True)
        self.refinenet3 = Fusion(features, has_skip=True)
        self.refinenet4 = Fusion(features, has_skip=False)
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, outputs, 1), nn.Identity()
        )


class Pyramid(nn.Module):
    """What every decoder here begins with: four maps of tokens of `width` channels → one fused map, in three steps."""

    def __init__(self, width: int, out_channels: tuple[int, int, int, int], scratch: Scratch) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in out_channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(out_channels[0], out_channels[0], 4, stride=4),
                nn.ConvTranspose2d(out_channels[1], out_channels[1], 2, stride=2),
                nn.Identity(),
                nn.Conv2d(out_channels[3], out_channels[3], 3, stride=2, padding=1),
            ]
        )
        self.scratch = scratch

    def project(self, level: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patch tokens [images, h·w, width] of a level (0..3) → [images, out_channels[level], h, w]."""
        return self.projects[level](tokens.transpose(1, 2).reshape(len(tokens), -1, *grid))

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        """Put 1×1 convolutions and pixel shuffles in place of the transposed convolutions. Cannot be undone.

        Where kernel and stride are alike the two are equal, and compilers take the plainer form in every precision.
        """
        for index in (0, 1):
            self.resize_layers[index] = _shuffled(self.resize_layers[index])

    def skips(self, projected: Sequence[Tensor], tap: Tap) -> list[Tensor]:
        """The four projected maps → four of `features` channels, each at its own size, fine to coarse."""
        s = self.scratch
        layers = [
            tap(name, resize(image)) for name, image, resize in zip(LAYERS, projected, self.resize_layers, strict=True)
        ]
        reduces = (s.layer1_rn, s.layer2_rn, s.layer3_rn, s.layer4_rn)
        return [reduce(layer) for reduce, layer in zip(reduces, layers, strict=True)]

    def fuse(self, skips: Sequence[Tensor], tap: Tap) -> Tensor:
        """The four skips → `path_1` [images, features, 8h, 8w]."""
        s = self.scratch
        return fuse((s.refinenet4, s.refinenet3, s.refinenet2, s.refinenet1), skips, tap)


def _shuffled(enlarge: nn.Module) -> nn.Sequential:
    """A transposed convolution that puts a k × k patch in place of every pixel, as convolution and pixel shuffle."""
    assert (
        isinstance(enlarge, nn.ConvTranspose2d) and enlarge.kernel_size == enlarge.stride and enlarge.bias is not None
    )
    into, out, k, _ = enlarge.weight.shape
    conv = nn.Conv2d(into, out * k * k, 1)
    conv.weight.copy_(enlarge.weight.permute(1, 2, 3, 0).reshape(-1, into, 1, 1))
    conv.bias.copy_(enlarge.bias.repeat_interleave(k * k))  # type: ignore[union-attr]  # it has one by default
    return nn.Sequential(conv, nn.PixelShuffle(k))


def fuse(fusions: Sequence[nn.Module], skips: Sequence[Tensor], tap: Tap) -> Tensor:
    """fusions: coarse to fine; skips: fine to coarse. Returns the last path, twice the size of the finest skip."""
    skip_1, skip_2, skip_3, skip_4 = skips
    refine_4, refine_3, refine_2, refine_1 = fusions
    path = tap("path_4", refine_4(skip_4, None, _size(skip_3)))
    path = tap("path_3", refine_3(path, skip_3, _size(skip_2)))
    path = tap("path_2", refine_2(path, skip_2, _size(skip_1)))
    rows, columns = _size(skip_1)
    return tap("path_1", refine_1(path, skip_1, (2 * rows, 2 * columns)))


class Decoder(Pyramid):
    """Four maps of tokens → depth.

    stride: pixels along a side of the encoder's patches. `forward(maps, size, tap)`: maps: four [images, h·w, width];
    size: (stride · h, stride · w) pixels of the picture; tap: called with every name of `TAPS` as its map is made.
    Returns [images, 1, *size], ≥ 0, and ≤ 1 where the output is a sigmoid.
    """

    def __init__(
        self, width: int, stride: int, features: int, out_channels: tuple[int, int, int, int], output: Output = "relu"
    ) -> None:
        super().__init__(width, out_channels, Scratch(features, out_channels))
        self.stride, self.features, self.out_channels, self.output = stride, features, out_channels, output

    def tap_size(self, tap: str, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the map at a tap, for an input of height × width pixels."""
        rows, columns = height // self.stride, width // self.stride
        level = LAYERS.index(tap) if tap in LAYERS else 3 - PATHS.index(tap) - 1
        if level == 3:
            return (rows + 1) // 2, (columns + 1) // 2
        factor = {-1: 8, 0: 4, 1: 2, 2: 1}[level]
        return rows * factor, columns * factor

    def tap_channels(self, tap: str) -> int:
        """Channels of the map at a tap."""
        return self.out_channels[LAYERS.index(tap)] if tap in LAYERS else self.features

    def forward(self, maps: list[Tensor], size: tuple[int, int], tap: Tap) -> Tensor:
        grid = size[0] // self.stride, size[1] // self.stride
        projected = [self.project(level, tokens, grid) for level, tokens in enumerate(maps)]
        path = self.fuse(self.skips(projected, tap), tap)
        if path.requires_grad or len(path) <= _AT_ONCE or torch.compiler.is_compiling():
            return self._finish(path, size)
        depth = path.new_empty(len(path), 1, *size)
        for part, of_path in zip(depth.split(_AT_ONCE), path.split(_AT_ONCE), strict=True):
            part.copy_(self._finish(of_path, size))
        return depth

    def _finish(self, path: Tensor, size: tuple[int, int]) -> Tensor:
        """`path_1` of some images → their depth."""
        return activate(self.scratch.output_conv2(upsample(self.scratch.output_conv1(path), size)), self.output)


def activate(depth: Tensor, output: Output) -> Tensor:
    """The last activation."""
    if output == "sigmoid":
        return depth.sigmoid()
    return F.relu(depth) if output == "relu" else F.softplus(depth)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def upsample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """image [images, C, h, w] → [images, C, *size], bilinear, corners on corners."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=True)
