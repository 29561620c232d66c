"""Where rays meet boxes, cylinders and ellipsoids, all of them brought to unit size in their own frames.

Every primitive is a convex body, so a ray is inside it over one interval of its parameter.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BOXES, CYLINDERS, BALLS = 44, 12, 6
"""Primitives of each kind in every scene (some may be absent), in this order after the shell."""

PRIMITIVES = 1 + BOXES + CYLINDERS + BALLS
"""The shell (the room seen from inside, number 0) and all primitives; at most 64, see `first_hits`."""


_NEVER_ZERO = 1e-20


class Selection(NamedTuple):
    """Some of the primitives, by number and in order: `boxes`, then `cylinders`, then ellipsoids; at least one."""

    numbers: Tensor  # [S] int64
    boxes: int
    cylinders: int


def select(wanted: Tensor, device: torch.device) -> Selection:
    """The primitives that are wanted, [PRIMITIVES − 1] bool on the CPU (the shell is not among them)."""
    if not wanted.any():
        wanted = torch.arange(PRIMITIVES - 1) == 0
    boxes = int(wanted[:BOXES].sum())
    cylinders = int(wanted[BOXES : BOXES + CYLINDERS].sum())
    return Selection((wanted.nonzero()[:, 0] + 1).to(device), boxes, cylinders)


def local_rays(rotation: Tensor, half: Tensor, centre: Tensor, eye: Tensor) -> tuple[Tensor, Tensor]:
    """Maps to the unit frames of primitives: matrices [F, 3, P, 3] for directions and origins [F, 3, P] of rays.

    rotation: [F, P, 3, 3] primitive to world; half: [F, P, 3]; centre: [F, P, 3]; eye: [F, 3], where the rays start.
    """
    matrix = rotation.transpose(-1, -2) / half[..., None]
    origin = (matrix @ (eye[:, None] - centre)[..., None])[..., 0]
    return matrix.transpose(1, 2).contiguous(), origin.transpose(1, 2).contiguous()


def first_hits(matrix: Tensor, origin: Tensor, rays: Tensor, nearest: float, among: Selection) -> tuple[Tensor, Tensor]:
    """What each ray of a frame meets first: its parameter there [F, n] and the primitive's number [F, n] int64.

    matrix: [F, 3, P, 3] and origin: [F, 3, P] from `local_rays`, P = PRIMITIVES; rays: [F, 3, n] in the world; hits
    nearer than `nearest` do not count; only the shell and the primitives `among` are looked at.
    """
    frames, pixels = rays.shape[0], rays.shape[-1]
    # Rays exactly along a face would otherwise give infinities, and NaN from their differences.
    # Added last: a product that starts from so small a number loses it to the first term.
    inverse = torch.bmm(matrix[:, :, 0], rays).add_(_NEVER_ZERO).reciprocal_()
    shell = (inverse.abs() - origin[:, :, 0, None] * inverse).amin(1)

    count, slabs = len(among.numbers), among.boxes + among.cylinders
    matrix, origin = matrix.index_select(2, among.numbers), origin.index_select(2, among.numbers)[..., None]
    direction = torch.bmm(matrix.view(frames, -1, 3), rays).add_(_NEVER_ZERO).view(frames, 3, count, pixels)
    enter, leave = rays.new_empty(2, frames, count, pixels)
    _slabs(direction, origin, enter, leave, 0, among.boxes, (0, 1, 2))
    _slabs(direction, origin, enter, leave, among.boxes, slabs, (1,))

    dx, _, dz = direction[:, :, among.boxes : slabs].unbind(1)
    ox, _, oz = origin[:, :, among.boxes : slabs].unbind(1)
    square = (dx * dx).addcmul_(dz, dz)
    # The discriminant as |d|² − |o × d|²: B² − A·C would lose thin poles far away to rounding.
    cross = (dz * ox).addcmul_(dx, oz, value=-1.0)
    middle = (dx * ox).addcmul_(dz, oz)
    low, high = _roots(square, middle, torch.addcmul(square, cross, cross, value=-1.0))
    enter[:, among.boxes : slabs].clamp_(min=low)
    leave[:, among.boxes : slabs].clamp_(max=high)

    dx, dy, dz = direction[:, :, slabs:].unbind(1)
    ox, oy, oz = origin[:, :, slabs:].unbind(1)
    square = (dx * dx).addcmul_(dy, dy).addcmul_(dz, dz)
    middle = (dx * ox).addcmul_(dy, oy).addcmul_(dz, oz)
    outside = ox * ox + oy * oy + oz * oz - 1.0
    low, high = _roots(square, middle, (middle * middle).addcmul_(square, outside, value=-1.0))
    enter[:, slabs:], leave[:, slabs:] = low, high

    missed = (enter >= leave).logical_or_(enter < nearest)
    parameter = enter.masked_fill_(missed, torch.inf)
    # One pass finds both the least parameter and whose it is: floats above zero are ordered like their bits, so the
    # place in the list can ride in the last six of them.
    places = torch.arange(count, dtype=torch.int32, device=rays.device)[:, None]
    place = parameter.view(torch.int32).bitwise_and(~63).bitwise_or_(places).amin(1).bitwise_and_(63).long()
    parameter = parameter.gather(1, place[:, None])[:, 0]
    free = parameter >= shell
    return torch.where(free, shell, parameter), among.numbers[place].masked_fill_(free, 0)


def _slabs(
    direction: Tensor, origin: Tensor, enter: Tensor, leave: Tensor, start: int, end: int, axes: tuple[int, ...]
) -> None:
    """Writes where rays are between the two faces of every axis, for primitives start .. end, into `enter`, `leave`."""
    if start == end:
        return
    enter, leave = enter[:, start:end], leave[:, start:end]
    for axis in axes:
        inverse = direction[:, axis, start:end].reciprocal()
        reach = inverse.abs()
        inverse.mul_(-origin[:, axis, start:end])
        if axis == axes[0]:
            torch.sub(inverse, reach, out=enter)
            torch.add(inverse, reach, out=leave)
        else:
            torch.minimum(leave, inverse + reach, out=leave)
            torch.maximum(enter, inverse.sub_(reach), out=enter)


def _roots(square: Tensor, middle: Tensor, discriminant: Tensor) -> tuple[Tensor, Tensor]:
    """Both solutions of square · t² + 2 · middle · t + … = 0, the lesser first; the wrong way round if none."""
    # Not the root of zero, which some vector libraries take slowly.
    root = discriminant.clamp_(min=1e-12).sqrt_().sub_(2e-6)
    square.reciprocal_()
    middle.neg_()
    return (middle - root).mul_(square), (middle + root).mul_(square)


class Casters(NamedTuple):
    """Bodies ready to shade a scene from a light infinitely far away, made by `casters`."""

    rows: Tensor  # [F, 3 S, 3] and
    shift: Tensor  # [F, 3 S, 1]: three affine functions of the place per body
    size: Tensor  # [F, 3, S, 1] constants that go with them
    hardness: Tensor  # [F, S, 1]
    boxes: int
    cylinders: int


def casters(matrix: Tensor, origin: Tensor, way: Tensor, hardness: Tensor, among: Selection) -> Casters:
    """matrix: [F, 3, P, 3] and origin: [F, 3, P] from `local_rays` with the eye at the world's origin; way: [F, 3] unit
    vectors towards the light; hardness: [F, P] per metre, 0 for bodies without a shadow."""
    frames, count, slabs = len(way), len(among.numbers), among.boxes + among.cylinders
    matrix, origin = matrix.index_select(2, among.numbers), origin.index_select(2, among.numbers)
    toward = (matrix @ way[:, None, :, None])[..., 0]  # [F, 3, S]
    toward = torch.where(toward.abs() < 1e-4, 1e-4, toward)
    weights = torch.zeros(frames, 3, count, 3, device=way.device)  # of the place in a body's own frame
    shift = torch.zeros(frames, 3, count, device=way.device)
    size = torch.zeros(frames, 3, count, device=way.device)

    # Axis 1 of cylinders and all axes of boxes: where the ray enters the slab, and how long it stays.
    inverse = toward.reciprocal()
    for axis in range(3):
        end = slabs if axis == 1 else among.boxes
        weights[:, axis, :end, axis] = -inverse[:, axis, :end]
        shift[:, axis, :end] = -inverse[:, axis, :end].abs()
        size[:, axis, :end] = 2.0 * inverse[:, axis, :end].abs()
    # Cylinders: distance of the ray from the axis, and the parameter nearest to it.
    part = slice(among.boxes, slabs)
    x, z = toward[:, 0, part], toward[:, 2, part]
    square = x * x + z * z
    weights[:, 0, part, 0], weights[:, 0, part, 2] = z * square.rsqrt(), -x * square.rsqrt()
    weights[:, 2, part, 0], weights[:, 2, part, 2] = -x / square, -z / square
    size[:, 0, part] = square.rsqrt()
    # Ellipsoids: place across the ray (two coordinates), and the parameter nearest to the centre.
    part = slice(slabs, count)
    ahead = toward[:, :, part].transpose(1, 2)  # [F, S, 3]
    square = (ahead * ahead).sum(-1, keepdim=True)
    helper = torch.where(
        ahead[..., 1:2].abs() > 0.9 * square.sqrt(), ahead.new_tensor([1.0, 0, 0]), ahead.new_tensor([0, 1.0, 0])
    )
    across = torch.linalg.cross(ahead, helper)
    across = across / across.norm(dim=-1, keepdim=True)
    weights[:, 0, part], weights[:, 1, part] = across, torch.linalg.cross(ahead, across) * square.rsqrt()
    weights[:, 2, part] = -ahead / square
    size[:, 0, part] = square[..., 0].rsqrt()

    shift += (weights * origin.transpose(1, 2)[:, None]).sum(-1)
    rows = (weights[..., None, :] @ matrix.transpose(1, 2)[:, None])[..., 0, :]  # [F, 3, S, 3]
    return Casters(
        rows.flatten(1, 2),
        shift.flatten(1, 2)[..., None],
        size[..., None],
        hardness.index_select(1, among.numbers)[..., None],
        among.boxes,
        among.cylinders,
    )


def shadow(bodies: Casters, place: Tensor) -> Tensor:
    """How much of the light is kept from places [F, 3, n] in the world: [F, n], 0..1.

    The shadow grows with the length of the light's way through a body, to full where length × hardness reaches 1: soft
    edges which do not depend on the camera.
    """
    frames, pixels = place.shape[0], place.shape[-1]
    terms = torch.baddbmm(bodies.shift, bodies.rows, place).view(frames, 3, -1, pixels)
    inside = place.new_empty(frames, terms.shape[2], pixels)

    first, second, third = terms[:, :, : bodies.boxes].unbind(1)
    size = bodies.size[:, :, : bodies.boxes].unbind(1)
    enter = torch.maximum(torch.maximum(first, second), third)
    leave = torch.minimum(torch.minimum(first.add_(size[0]), second.add_(size[1])), third.add_(size[2]))
    torch.sub(leave, enter.clamp_(min=0.0), out=inside[:, : bodies.boxes])

    slabs = bodies.boxes + bodies.cylinders
    part = slice(bodies.boxes, slabs)
    across, low, middle = terms[:, :, part].unbind(1)
    # Not down to zero: some vector libraries take the square root of zero slowly.
    chord = (1.0 - across * across).clamp_(min=1e-12).sqrt_().mul_(bodies.size[:, 0, part])
    leave = torch.minimum(middle + chord, low + bodies.size[:, 1, part])
    torch.sub(leave, torch.maximum(middle.sub_(chord), low).clamp_(min=0.0), out=inside[:, part])

    across, along, middle = terms[:, :, slabs:].unbind(1)
    chord = (1.0 - across * across).addcmul_(along, along, value=-1.0).clamp_(min=1e-12).sqrt_()
    chord.mul_(bodies.size[:, 0, slabs:])
    torch.sub(middle + chord, middle.sub(chord).clamp_(min=0.0), out=inside[:, slabs:])
    return inside.mul_(bodies.hardness).amax(1).clamp_(0.0, 1.0)
