"""The colour of surfaces and of the sky.

Nothing here depends on where the camera is (but for the filtering of textures): a point of the static world keeps its
brightness for ever, which is what makes the clips warp exactly onto each other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vmdepth.data.rendering import textures
from vmdepth.data.rendering.raycast import Casters, shadow


def albedo(table: Tensor, material: Tensor, u: Tensor, v: Tensor, footprint: Tensor) -> Tensor:
    """Linear colours [3, n]. table: of `textures.sample`; material: [MATERIAL, n]; u, v: [n] place on the surface and
    footprint: [n], metres."""
    tile, m00, m01, m10, m11, shift_u, shift_v = material[:7]
    first, second, third, gain, per_metre = *material[7:16].view(3, 3, -1), material[16], material[17]
    across = shift_u.addcmul(m00, u).addcmul_(m01, v)
    down = shift_v.addcmul(m10, u).addcmul_(m11, v)
    mix, accent, brightness = textures.sample(table, tile, across, down, footprint * per_metre)
    colour = torch.lerp(first, second, mix)
    colour = torch.lerp(colour, third, accent)
    colour = colour.mul_((brightness - 1.0).mul_(gain).add_(1.0)).clamp_(min=0.0)
    # A photograph's three channels are its colours.
    return torch.where(tile >= textures.TILES, torch.stack([mix, accent, brightness]) * gain, colour)


def light(scene: dict[str, Tensor], bodies: Casters, place: Tensor, normal: Tensor) -> Tensor:
    """Light that arrives [F, 3, n] at points [F, 3, n] with normals [F, 3, n]; scene: light tensors per frame."""
    lamps, count = scene["lamp_places"], scene["lamp_places"].shape[1]
    share = torch.empty(place.shape[0], 2 + count, place.shape[2], device=place.device)
    share[:, 0] = normal[:, 1]

    facing = torch.bmm(scene["key_way"][:, None], normal)[:, 0].clamp_(min=0.0)
    # A little above the surface: rounding must not put the start of the way to the light below it.
    shade = shadow(bodies, torch.add(place, normal, alpha=0.01)).mul_(scene["shadow"][:, None])
    torch.addcmul(facing, facing, shade, value=-1.0, out=share[:, 1])

    square = (lamps * lamps).sum(-1)[..., None].baddbmm(lamps, place, alpha=-2.0)
    square.add_((place * place).sum(1, keepdim=True)).clamp_(min=1e-4)
    facing = torch.bmm(lamps, normal).sub_((place * normal).sum(1, keepdim=True)).mul_(square.rsqrt())
    # Lambert's law, softened: a lamp stands for a large source.
    facing.mul_(0.75).add_(0.25).clamp_(min=0.0)
    torch.div(facing, square.mul_(scene["lamp_reach"][..., None] ** -2).add_(1.0), out=share[:, 2:])

    below, above = scene["ambient"].unbind(1)
    colours = torch.cat([(0.5 * (below - above))[:, None], scene["key_colour"][:, None], scene["lamp_colours"]], 1)
    return torch.baddbmm((0.5 * (below + above))[..., None], colours.transpose(1, 2), share)


def contact(place: Tensor, normal: Tensor, gaps: Tensor) -> Tensor:
    """Darkening [F, n], 0..1, where surfaces meet the floor. place, normal: [F, 3, n]; gaps: [F, n] metres to the
    nearest other face of the shell (large for points of other things)."""
    low = torch.exp(place[:, 1] * 4.0).mul_(1.0 - normal[:, 1].abs())
    return (1.0 - 0.35 * low) * (1.0 - 0.35 * torch.exp(gaps * -3.0))


def sky(table: Tensor, scene: dict[str, Tensor], frame: Tensor, ray: Tensor, pixel: Tensor) -> Tensor:
    """Linear colours [3, n] of the sky. table: of `textures.sample`; frame: [n] row in `scene`; ray: [3, n] world
    directions; pixel: [n] radians."""
    ray = ray * (ray * ray).sum(0).rsqrt_()
    up = (-ray[1]).clamp(min=0.0)
    horizon, zenith, cloud = scene["sky"][frame].permute(1, 2, 0)
    tile, size, cover, shift = scene["clouds"][frame].t()
    slope = 1.0 / (up + 0.12)
    mix, _, _ = textures.sample(
        table, tile, ray[0] * slope / size + shift, ray[2] * slope / size, pixel * slope * (0.3 + 0.7 * slope) / size
    )
    colour = torch.lerp(zenith, horizon, (1.0 - up) ** 4)
    share = ((mix - 0.8 + 0.6 * cover) * 3.0).clamp(0.0, 1.0) * (0.9 * (up * 6.0).clamp(max=1.0))
    return torch.lerp(colour, cloud, share)


def haze(scene: dict[str, Tensor], place: Tensor, colour: Tensor) -> Tensor:
    """Colours [F, 3, n] as air between the camera and `place` [F, 3, n], metres, lets them through."""
    share = 1.0 - torch.exp(-(place * place).sum(1).sqrt_() * scene["haze"][:, None])
    return torch.lerp(colour, scene["sky"][:, 0, :, None], share[:, None])
