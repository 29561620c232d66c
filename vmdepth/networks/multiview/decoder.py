"""The decoders of Depth Anything 3: depth with confidence and rays, and depth with sky. Official names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
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

    @property
    def for_rays(self) -> dict[str, nn.Module]:
        """The parts of the second chain by their names."""
        return {name: part for name, part in self.named_children() if "_aux" in name}

    def without_rays(self) -> None:
        """Leave the second chain out. Cannot be undone."""
        for name in self.for_rays:
            delattr(self, name)


class Places(nn.Module):
    """Adds to maps [images, C, h, w] the code of `add_positions`, at any size; once folded, at one, as constants."""

    def __init__(self) -> None:
        super().__init__()
        self.across: Tensor | None = None  # [C, 1, w], 0 in the channels that tell the row
        self.down: Tensor | None = None  # [C, h, 1], 0 in the others

    def fold(self, channels: int, rows: int, columns: int, like: Tensor) -> None:
        aspect, half = columns / rows, channels // 2
        across, down = _codes(half, rows, columns, aspect, like)
        self.across = F.pad(across, (0, 0, 0, 0, 0, channels - half))
        self.down = F.pad(down, (0, 0, 0, 0, half, 0))

    def forward(self, image: Tensor, aspect: float) -> Tensor:
        if self.across is None or self.down is None:
            return add_positions(image, aspect)
        return image + self.across + self.down


class ViewDecoder(Pyramid):
    """Four projected taps → depth and confidence and, where asked for, rays.

    width: channels of a tap. `project` also normalises the tap and tells every place where in the picture it is.
    `forward(projected, grid, rays)`: what `project` gave, fine to coarse; grid: (h, w) patches.
    """

    scratch: RayScratch

    def __init__(self, width: int, features: int, out_channels: tuple[int, int, int, int]) -> None:
        super().__init__(width, out_channels, RayScratch(features, out_channels))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.places = nn.ModuleList(Places() for _ in out_channels)
        self.last_places = Places()

    def project(self, level: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """As `Pyramid.project`, of the normalised tap, with a code of every place added."""
        return self.places[level](super().project(level, self.norm(tokens), grid), grid[1] / grid[0])

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        """As of any decoder, with the codes of places at one size (pixels), and without the chain for rays."""
        super().fold(height, width)
        rows, columns = height // PATCH, width // PATCH
        for places, project in zip(self.places, self.projects, strict=True):
            assert isinstance(places, Places) and isinstance(project, nn.Conv2d)
            places.fold(project.out_channels, rows, columns, project.weight)
        self.last_places.fold(self.scratch.output_conv1.out_channels, height, width, self.norm.weight)
        self.scratch.without_rays()

    def forward(
        self, projected: Sequence[Tensor], grid: tuple[int, int], rays: bool = False, tap: Tap = identity_tap
    ) -> Decoded:
        s = self.scratch
        aspect = grid[1] / grid[0]
        skips = self.skips(projected, tap)
        full = upsample(s.output_conv1(self.fuse(skips, tap)), (grid[0] * PATCH, grid[1] * PATCH))
        depth, confidence = s.output_conv2(self.last_places(full, aspect)).unbind(1)
        depth, confidence = depth.exp(), confidence.exp() + 1
        if not rays:
            return Decoded(depth, confidence)
        chain = (s.refinenet4_aux, s.refinenet3_aux, s.refinenet2_aux, s.refinenet1_aux)
        fine = s.output_conv1_aux["3"](fuse(chain, skips, lambda name, image: tap(f"{name}_aux", image)))
        ray = s.output_conv2_aux["3"](add_positions(fine, aspect))
        return Decoded(depth, confidence, ray[:, :6].movedim(1, -1), ray[:, 6].exp() + 1)


def depth_and_confidence(decoder: ViewDecoder, taps: Sequence[Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """Four taps [images, h·w, width] → depth and confidence [images, 14h, 14w] by their names."""
    decoded = decoder([decoder.project(level, tap, grid) for level, tap in enumerate(taps)], grid)
    assert decoded.confidence is not None
    return {"depth": decoded.depth, "confidence": decoded.confidence}


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
    across, down = _codes(half, image.shape[-2], image.shape[-1], aspect, image)
    image[:, :half] += across
    image[:, half:] += down
    return image


def _codes(half: int, rows: int, columns: int, aspect: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of where across [half, 1, columns] and of where down [half, rows, 1]."""
    diagonal = (aspect**2 + 1) ** 0.5
    across = _line_code(half, columns, aspect / diagonal, like)
    down = _line_code(half, rows, 1 / diagonal, like)
    return across[:, None, :], down[:, :, None]


def _line_code(channels: int, places: int, extent: float, like: Tensor) -> Tensor:
    """Code [channels, places] of a line from −extent to extent, sampled at the middles of `places` equal parts."""
    end = extent * (places - 1) / places
    waves = 100 ** (-torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
    angle = waves[:, None] * torch.linspace(-end, end, places, dtype=torch.float64)
    return (0.1 * torch.cat([angle.sin(), angle.cos()])).to(like)
