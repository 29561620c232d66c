"""The decoders of Depth Anything 3: depth with confidence and rays, and depth with sky. Official names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vmdepth.networks.decoder import Fusion, Pyramid, Scratch, Tap, fuse, upsample
from vmdepth.networks.encoder import PATCH


def identity_tap(name: str, image: Tensor) -> Tensor:
    """The tap that changes nothing."""
    return image


class Decoded(NamedTuple):
    """depth, confidence, sky: [images, 14h, 14w]; rays: [images, 8h, 8w, 6]; ray_confidence: [images, 8h, 8w]."""

    depth: Tensor
    confidence: Tensor | None = None
    rays: Tensor | None = None
    ray_confidence: Tensor | None = None
    sky: Tensor | None = None


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map [images, C, h, w]."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.movedim(1, -1)).movedim(-1, 1)


class RayScratch(Scratch):
    """With a second chain of fusions for the rays.

    Of the four levels that official files hold for the chain's last convolutions only the finest, "3", is ever
    computed, so only that one is here.
    """

    def __init__(self, features: int, out_channels: tuple[int, int, int, int]) -> None:
        super().__init__(features, out_channels, outputs=2)
        half = features // 2
        self.refinenet1_aux = Fusion(features, has_skip=True)
        self.refinenet2_aux = Fusion(features, has_skip=True)
        self.refinenet3_aux = Fusion(features, has_skip=True)
        self.refinenet4_aux = Fusion(features, has_skip=False)
        pairs = ((features, half), (half, features), (features, half), (half, features), (features, half))
        convolutions = nn.Sequential(*(nn.Conv2d(before, after, 3, padding=1) for before, after in pairs))
        self.output_conv1_aux = nn.ModuleDict({"3": convolutions})
        last = [nn.Conv2d(half, 32, 3, padding=1), nn.Identity(), ChannelNorm(32, eps=1e-5), nn.Identity()]
        self.output_conv2_aux = nn.ModuleDict({"3": nn.Sequential(*last, nn.ReLU(), nn.Conv2d(32, 7, 1))})


class ViewDecoder(Pyramid):
    """Four projected taps → depth and confidence and, where asked for, rays.

    width: channels of a tap. `project` also normalises the tap and tells every place where in the picture it is.
    `forward(projected, grid, rays)`: what `project` gave, fine to coarse; grid: (h, w) patches.
    """

    scratch: RayScratch

    def __init__(self, width: int, features: int, out_channels: tuple[int, int, int, int]) -> None:
        super().__init__(width, out_channels, RayScratch(features, out_channels))
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def project(self, level: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """As `Pyramid.project`, of the normalised tap, with a code of every place added."""
        return add_positions(super().project(level, self.norm(tokens), grid), grid[1] / grid[0])

    def forward(
        self, projected: Sequence[Tensor], grid: tuple[int, int], rays: bool = False, tap: Tap = identity_tap
    ) -> Decoded:
        s = self.scratch
        aspect = grid[1] / grid[0]
        skips = self.skips(projected, tap)
        full = upsample(s.output_conv1(self.fuse(skips, tap)), (grid[0] * PATCH, grid[1] * PATCH))
        depth, confidence = s.output_conv2(add_positions(full, aspect)).unbind(1)
        depth, confidence = depth.exp(), confidence.exp() + 1
        if not rays:
            return Decoded(depth, confidence)
        chain = (s.refinenet4_aux, s.refinenet3_aux, s.refinenet2_aux, s.refinenet1_aux)
        fine = s.output_conv1_aux["3"](fuse(chain, skips, lambda name, image: tap(f"{name}_aux", image)))
        ray = s.output_conv2_aux["3"](add_positions(fine, aspect))
        return Decoded(depth, confidence, ray[:, :6].movedim(1, -1), ray[:, 6].exp() + 1)


class SkyScratch(Scratch):
    """With last convolutions of its own for the sky, beside those of depth."""

    def __init__(self, features: int, out_channels: tuple[int, int, int, int]) -> None:
        super().__init__(features, out_channels)
        self.sky_output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU()
        )


class SkyDecoder(Pyramid):
    """Four maps of tokens [images, h·w, width] → depth and sky (≥ 0; from 0.3 on it is sky)."""

    scratch: SkyScratch

    def __init__(self, width: int, features: int, out_channels: tuple[int, int, int, int]) -> None:
        super().__init__(width, out_channels, SkyScratch(features, out_channels))

    def forward(self, maps: Sequence[Tensor], grid: tuple[int, int], tap: Tap = identity_tap) -> Decoded:
        s = self.scratch
        projected = [self.project(level, tokens, grid) for level, tokens in enumerate(maps)]
        path = self.fuse(self.skips(projected, tap), tap)
        full = upsample(s.output_conv1(path), (grid[0] * PATCH, grid[1] * PATCH))
        return Decoded(s.output_conv2(full).squeeze(1).exp(), sky=s.sky_output_conv2(full).squeeze(1))


def add_positions(image: Tensor, aspect: float) -> Tensor:
    """Add to a fresh map [images, C, h, w] a sinusoidal code of where each place is in a picture of that aspect (W/H).

    Places run over a picture whose diagonal is 2: x from −sx (w−1)/w to sx (w−1)/w. C/2 channels tell x, C/2 tell y.
    The map is changed in place.
    """
    half = image.shape[1] // 2
    diagonal = (aspect**2 + 1) ** 0.5
    image[:, :half] += _line_code(half, image.shape[-1], aspect / diagonal, image)[:, None, :]
    image[:, half:] += _line_code(half, image.shape[-2], 1 / diagonal, image)[:, :, None]
    return image


def _line_code(channels: int, places: int, extent: float, like: Tensor) -> Tensor:
    """Code [channels, places] of a line from −extent to extent, sampled at the middles of `places` equal parts."""
    end = extent * (places - 1) / places
    waves = 100 ** (-torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
    angle = waves[:, None] * torch.linspace(-end, end, places, dtype=torch.float64)
    return (0.1 * torch.cat([angle.sin(), angle.cos()])).to(like)
