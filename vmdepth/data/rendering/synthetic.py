"""Rendered clips: random worlds with exact depth, flow, motion masks and poses, drawn by a batched ray caster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vmdepth.data.rendering import shading, textures
from vmdepth.data.rendering.layouts import draw_scene
from vmdepth.data.rendering.motion import FRAME_RATE, about_y, euler
from vmdepth.data.rendering.photographs import papered_bank
from vmdepth.data.rendering.raycast import (
    BOXES,
    CYLINDERS,
    PRIMITIVES,
    Casters,
    Selection,
    casters,
    first_hits,
    local_rays,
    select,
)
from vmdepth.data.rendering.scenes import FLOOR, MATERIAL, Scene, stack

_NEAREST = 0.05
"""Hits nearer than this (metres) do not count; layouts keep everything farther away than that."""

_CHUNK = {"cpu": 12_500, "cuda": 400_000}
"""Pixels rendered at once: on a CPU few enough for its cache, many enough to hide the calls; on a GPU so few that the
processes which make a run's batches have room on it together (2,000,000 take 5 GB of each)."""


@dataclass(frozen=True)
class RenderedClips:
    """B clips of N frames. Pixel (column i, row j) covers [i, i + 1] × [j, j + 1]: its centre is at (i + 0.5, j + 0.5).

    rgb: [B, N, 3, H, W] float32, 0..1
    depth: [B, N, 1, H, W] float32, metres along the optical axis (not along the ray); +inf for sky
    flow: [B, N, 2, H, W] float32, pixels (x, y): where each pixel's surface point is in the next frame, minus where it
        is now; for the last frame towards the frame that would follow. Sky moves with the camera's rotation only.
    moving: [B, N, 1, H, W] bool: the pixel shows a surface that moves in the world
    intrinsics: [B, 3, 3] float32, pinhole, pixels
    poses: [B, N, 4, 4] float32, camera to world, metres; x right, y down, z forward
    """

    rgb: Tensor
    depth: Tensor
    flow: Tensor
    moving: Tensor
    intrinsics: Tensor
    poses: Tensor


@torch.no_grad()  # not inference_mode: training back-propagates through a network that has seen these
def render_clips(
    seeds: Sequence[int],
    frames: int,
    height: int,
    width: int,
    *,
    first_frame: int = 0,
    device: torch.device | str = "cpu",
    photos: Path | None = None,
    stretch: Sequence[float] | None = None,
) -> RenderedClips:
    """Frames `first_frame` .. `first_frame + frames − 1` (at 30 per second) of the endless stream of each seed.

    photos: a folder of photographs, which take the place of half of the textures. stretch: how many times as high as
    wide every clip shows things, as a film of another shape does when it is brought to this one; 1 without.

    A clip depends on its own seed alone, not on the others of the batch; the horizontal field of view is the same at
    every size, so another size shows the same scene. On a CPU it is one thread's work: many small steps, which several
    threads speed up little, and slow down a lot while others compete for the cores. Render in processes of one thread.
    """
    device = torch.device(device)
    scene = stack([draw_scene(seed) for seed in seeds])
    table = textures.bank(device) if photos is None else papered_bank(photos, device)
    if photos is not None:
        _paper(scene, seeds, len(table) // textures.TEXELS - textures.TILES)
    clips = len(seeds)
    times = (first_frame + np.arange(frames + 1)) / FRAME_RATE
    focal = (width / 2 / np.tan(scene.field_of_view / 2))[:, None] * np.stack(
        [np.ones(clips), np.ones(clips) if stretch is None else np.asarray(stretch)], axis=1
    )
    tensors, bounds, poses = _frame_tensors(scene, times, focal, device)

    count, pixels = clips * frames, height * width
    rgb, depth, flow = (torch.empty((count, channels, pixels), device=device) for channels in (3, 1, 2))
    moving = torch.empty((count, 1, pixels), dtype=torch.bool, device=device)
    grid = _pixel_grid(height, width, device)
    chunk = _CHUNK.get(device.type, _CHUNK["cuda"])
    group = max(1, chunk // pixels)
    lines = max(1, min(height, chunk // width))
    for start in range(0, count, group):
        part = {name: value[start : start + group] for name, value in tensors.items()}
        balls = bounds[start : start + group]
        shady = select((balls[:, 1:, 4] > 0).any(0), device)
        bodies = casters(part["still_matrix"], part["still_origin"], part["key_way"], part["hardness"], shady)
        for low in range(0, height, lines):
            high = min(height, low + lines)
            among = select(_in_view(balls[:, 1:], width, low - height / 2, high - height / 2).any(0), device)
            where = slice(start, start + group), slice(None), slice(low * width, high * width)
            shown = _render(part, bodies, among, grid[:, where[2]], table)
            rgb[where], depth[where], flow[where], moving[where] = shown

    rgb = _soften(rgb.view(count, 3, height, width), tensors["blur"])
    shape = (clips, frames, -1, height, width)
    rgb, depth, flow, moving = (values.view(shape) for values in (rgb, depth, flow, moving))
    intrinsics = _intrinsics(focal, height, width).float().to(device)
    return RenderedClips(rgb, depth, flow, moving, intrinsics, poses[:, :frames].float().to(device))


def _pixel_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Centres of all pixels relative to the middle of the picture, and ones: [3, height × width]."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device) + 0.5 - height / 2,
        torch.arange(width, device=device) + 0.5 - width / 2,
        indexing="ij",
    )
    return torch.stack([x.flatten(), y.flatten(), torch.ones(height * width, device=device)])


def _intrinsics(focal: np.ndarray, height: int, width: int) -> Tensor:
    """focal: [clips, 2] pixels → [clips, 3, 3], float64."""
    intrinsics = torch.zeros((len(focal), 3, 3), dtype=torch.float64)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = torch.from_numpy(focal).unbind(1)
    intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = width / 2, height / 2, 1.0
    return intrinsics


def _paper(scene: Scene, seeds: Sequence[int], tiles: int) -> None:
    """Put one of `tiles` photographs in place of some textures; in every world from none to all of them."""
    for number, seed in enumerate(seeds):
        rng = np.random.default_rng((seed, 1))
        material = scene.materials[number]  # faces of one material share its photograph
        drawn, which = np.unique(material.reshape(-1, MATERIAL), axis=0, return_inverse=True)
        papered = rng.random(len(drawn)) < rng.random()
        tile = np.where(papered, textures.TILES + rng.integers(tiles, size=len(drawn)), drawn[:, 0])
        material[..., 0] = tile[which].reshape(material.shape[:-1])


def _frame_tensors(
    scene: Scene, times: np.ndarray, focal: np.ndarray, device: torch.device
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """What the renderer needs, one row per frame ([clips × frames, ...]); bounding balls; poses [clips, T, 4, 4].

    The balls, [clips × frames, P, 7] on the CPU: centre in the camera's frame (3), radius (−inf where a scene lacks the
    primitive), whether it casts a shadow, and the focal lengths (x, y) in pixels.

    times: [T] seconds, one more than there are frames; focal: [clips, 2] pixels.
    """
    clips, frames = len(focal), len(times) - 1
    camera = scene.camera.at(times)
    poses = np.tile(np.eye(4), (clips, len(times), 1, 1))
    poses[..., :3, :3], poses[..., :3, 3] = euler(camera[..., 3:]), camera[..., :3]
    path = scene.path.at(times).swapaxes(1, 2)  # [clips, T, P, 4]
    centre = path[..., :3]
    rotation = about_y(path[..., 3]) @ scene.rest[:, None]

    def rows(values: np.ndarray) -> Tensor:
        """[clips, frames, ...] to [clips × frames, ...]."""
        return torch.from_numpy(np.ascontiguousarray(values)).flatten(0, 1)

    def repeat(values: np.ndarray) -> Tensor:
        """[clips, ...] to [clips × frames, ...]."""
        return torch.from_numpy(np.asarray(values)).repeat_interleave(frames, 0)

    now, following = poses[:, :-1], poses[:, 1:]
    eye, turn = rows(now[..., :3, 3]), rows(now[..., :3, :3])
    half = repeat(scene.half)
    centres, rotations = rows(centre[:, :-1]), rows(rotation[:, :-1])
    matrix, origin = local_rays(rotations, half, centres, eye)
    still_matrix, still_origin = local_rays(rotations, half, centres, torch.zeros_like(eye))
    # Only what stands still may cast shadows, or static points would change their brightness.
    still = repeat(scene.used & ~scene.moving)
    radius = half.norm(dim=-1).masked_fill(~repeat(scene.used), -torch.inf)
    from_eye = ((centres - eye[:, None])[:, :, None] @ turn[:, None])[:, :, 0]
    constants = repeat(focal)[:, None].expand(*radius.shape, 2)
    bounds = torch.cat([from_eye, torch.stack([radius, still], -1), constants], -1)
    values = {
        "eye": eye,
        "turn": turn,
        "next_eye": rows(following[..., :3, 3]),
        "next_turn": rows(following[..., :3, :3]),
        "focal": repeat(focal),
        "matrix": matrix,
        "origin": origin,
        "shapes": torch.cat([centres, rotations.flatten(-2), half], -1),  # [F, P, 15]
        "next_shapes": torch.cat([rows(centre[:, 1:]), rows(rotation[:, 1:]).flatten(-2)], -1),  # [F, P, 12]
        "materials": repeat(scene.materials),
        "still_matrix": still_matrix,
        "still_origin": still_origin,
        "hardness": still / half.amin(-1).clamp(0.03, 0.25),
    }
    names = ("ambient", "key_way", "key_colour", "shadow", "lamp_places", "lamp_colours", "lamp_reach")
    for name in (*names, "sky", "clouds", "haze", "exposure", "gamma", "blur"):
        values[name] = repeat(getattr(scene, name))
    tensors = {name: value.float().to(device) for name, value in values.items()}
    tensors["moving"] = repeat(scene.moving).to(device)
    tensors["open_air"] = repeat(scene.open_air).to(device)
    return tensors, bounds, torch.from_numpy(poses)


def _in_view(balls: Tensor, width: int, top: float, bottom: float) -> Tensor:
    """Which primitives may show [F, P] in lines top .. bottom (relative to the middle). balls: of `_frame_tensors`."""
    x, y, z, radius, _, wide, high = balls.unbind(-1)
    seen = z > -radius
    for across, edge, focal in ((x, width / 2, wide), (-x, width / 2, wide), (y, bottom, high), (-y, -top, high)):
        slope = edge / focal
        seen &= across - z * slope < radius * (1 + slope * slope).sqrt()
    return seen


def _render(
    scene: dict[str, Tensor], bodies: Casters, among: Selection, grid: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colours [F, 3, n], depth [F, 1, n], flow [F, 2, n] and moving [F, 1, n] of n pixels in F frames.

    scene: rows of `_frame_tensors`; bodies: what casts shadows; among: the primitives that may show; grid: [3, n] pixel
    centres relative to the middle of the picture, and ones; table: of `textures.sample`.
    """
    frames, pixels = scene["eye"].shape[0], grid.shape[1]
    focal = scene["focal"][:, :, None]
    # Rays with a length of 1 along the optical axis: the ray's parameter is the depth itself.
    view = grid.expand(frames, 3, pixels) / torch.cat([focal, torch.ones_like(focal[:, :1])], 1)
    rays = torch.bmm(scene["turn"], view)
    depth, number = first_hits(scene["matrix"], scene["origin"], rays, _NEAREST, among)
    place = torch.addcmul(scene["eye"][:, :, None], rays, depth[:, None])

    row = number + PRIMITIVES * torch.arange(frames, device=number.device)[:, None]
    shape = scene["shapes"].flatten(0, 1).t().contiguous().index_select(1, row.flatten()).view(15, frames, pixels)
    centre, rotation, half = shape[:3], shape[3:12].view(3, 3, frames, pixels), shape[12:]
    offset = place.transpose(0, 1) - centre
    # Metres in the primitive's frame, [3, F, n].
    inside = (rotation[0] * offset[0]).addcmul_(rotation[1], offset[1]).addcmul_(rotation[2], offset[2])
    unit = inside / half
    normal, face, u, v = _surface(number, unit, inside, half)
    shell = number == 0
    normal *= 1.0 - 2.0 * shell
    normal = (rotation[:, 0] * normal[0]).addcmul_(rotation[:, 1], normal[1]).addcmul_(rotation[:, 2], normal[2])
    normal = normal.transpose(0, 1)  # [F, 3, n], in the world

    length = (rays * rays).sum(1).sqrt_()
    slant = (rays * normal).sum(1).abs().div_(length).clamp_(min=0.03)
    footprint = depth * length / focal[:, 0] * slant**-0.7
    cell = (row * 6 + face).flatten()
    material = scene["materials"].view(-1, MATERIAL).t().contiguous().index_select(1, cell)
    colour = shading.albedo(table, material, u.flatten(), v.flatten(), footprint.flatten()).view(3, frames, pixels)
    colour = colour.transpose(0, 1) * shading.light(scene, bodies, place, normal)
    gaps = _median_of_three(((1.0 - unit.abs()) * half).abs())
    colour *= shading.contact(place, normal, torch.where(shell, gaps, 100.0))[:, None]
    colour = shading.haze(scene, place, colour)

    moving = scene["moving"].flatten()[row.flatten()].view(frames, pixels)
    there = _next_places(scene, place, inside, row, moving)

    sky = scene["open_air"][:, None] & shell & (face != FLOOR)
    seen = sky.flatten().nonzero()[:, 0]
    if len(seen):
        frame = seen // pixels
        above = rays.transpose(0, 1).reshape(3, -1).index_select(1, seen)
        painted = shading.sky(table, scene, frame, above, 1.0 / scene["focal"][frame, 0])
        colour = _replaced(colour, seen, painted)
        there = _replaced(there, seen, above)
        depth = depth.masked_fill(sky, torch.inf)

    ahead = torch.bmm(scene["next_turn"].transpose(1, 2), there)
    # A point that comes to lie behind the camera has no place in the picture; it leaves by the side it is on.
    flow = ahead[:, :2] / ahead[:, 2:].clamp(min=1e-2) * focal - grid[:2]

    colour = 1.0 - torch.exp(colour * -scene["exposure"][:, :, None])
    colour = colour.clamp_(1e-6, 1.0).pow_(scene["gamma"][:, None, None])
    return colour, depth[:, None], flow, moving[:, None]


def _next_places(scene: dict[str, Tensor], place: Tensor, inside: Tensor, row: Tensor, moving: Tensor) -> Tensor:
    """Where the points at `place` [F, 3, n] are one frame later, from the camera's place then.

    inside: the points in the frames of their primitives, [3, F, n]; row: numbers of these among all; moving: [F, n].
    """
    there = place.clone()
    frame, pixel = moving.nonzero(as_tuple=True)
    if len(frame):
        following = scene["next_shapes"].flatten(0, 1)[row[frame, pixel]]
        turned = (following[:, 3:].view(-1, 3, 3) @ inside[:, frame, pixel].t()[:, :, None])[..., 0]
        there[frame, :, pixel] = following[:, :3] + turned
    return there - scene["next_eye"][:, :, None]


def _surface(number: Tensor, unit: Tensor, inside: Tensor, half: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Own-frame normal [3, F, n], face [F, n], and place on the surface u, v [F, n] in metres.

    number: [F, n]; unit, inside: [3, F, n] hit points in units of the half sizes and in metres; half: [3, F, n].
    All kinds take their texture from the face of the box around them that a point is nearest to.
    """
    round_side = number > BOXES
    cylinder = round_side & (number <= BOXES + CYLINDERS)
    x, y, z = unit.abs()
    cap = cylinder & (y > 0.9995)
    y = torch.where(cylinder, cap * 2.0, y)
    by_x = (x >= y) & (x >= z)
    by_y = (y > x) & (y >= z)
    by_z = ~(by_x | by_y)
    axis = by_y + 2 * by_z
    face = 2 * axis + (unit.gather(0, axis[None])[0] > 0)
    u = torch.where(by_x, inside[2], inside[0])
    v = torch.where(by_y, inside[2], inside[1])
    flat = torch.stack([by_x, by_y, by_z]) * unit.sign()
    curved = unit / half
    curved[1].masked_fill_(cylinder, 0.0)
    curved *= (curved * curved).sum(0).clamp_(min=1e-12).rsqrt_()
    return torch.where(round_side & ~cap, curved, flat), face, u, v


def _replaced(values: Tensor, where: Tensor, new: Tensor) -> Tensor:
    """Values [F, 3, n] with columns [3, m] written at the places `where` [m] among the F · n."""
    flat = values.transpose(0, 1).flatten(1).index_copy(1, where, new)
    return flat.view(3, *values.shape[::2]).transpose(0, 1)


def _median_of_three(values: Tensor) -> Tensor:
    """The middle one of three values: [3, ...] to [...]."""
    x, y, z = values
    return torch.maximum(torch.minimum(x, y), torch.minimum(torch.maximum(x, y), z))


def _soften(rgb: Tensor, share: Tensor) -> Tensor:
    """What a lens does: every pixel takes a share [F] of each neighbour. rgb: [F, 3, H, W]."""
    share = share[:, None, None, None]
    for pad, dim in (((1, 1, 0, 0), 3), ((0, 0, 1, 1), 2)):
        padded = functional.pad(rgb, pad, mode="replicate")
        size = rgb.shape[dim]
        rgb = rgb * (1 - 2 * share) + share * (padded.narrow(dim, 0, size) + padded.narrow(dim, 2, size))
    return rgb
