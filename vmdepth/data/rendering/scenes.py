"""What a rendered scene is made of, and the builder that random layouts fill one with.

World: metres, x right, y down, z forward; the floor is at y = 0, and the camera moves about x = z = 0 within a box that
stays clear of everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vmdepth.data.rendering import textures
from vmdepth.data.rendering.motion import Array, Waves, euler
from vmdepth.data.rendering.raycast import BOXES, CYLINDERS, PRIMITIVES

BOX, CYLINDER, BALL = "box", "cylinder", "ball"
FLOOR, CEILING = 3, 2
"""Faces are numbered 2 · axis + (1 where the coordinate is positive); of the shell (y down) these are the two of y."""

MARGIN = 0.45
"""Metres between the box of camera places and anything else: at 85 degrees of view a depth of 0.3 m at least."""

MATERIAL = 18
"""Numbers per material: tile, 2 × 2 metres-to-tile matrix, offset (2), three linear colours (9), gain of the brightness
channel, tile units per metre."""

CAMERA_WAVES, OBJECT_WAVES, LAMPS = 5, 2, 2

_SLOTS = {
    BOX: range(1, 1 + BOXES),
    CYLINDER: range(1 + BOXES, 1 + BOXES + CYLINDERS),
    BALL: range(1 + BOXES + CYLINDERS, PRIMITIVES),
}

Part = tuple[str, tuple[float, float, float], tuple[float, float, float], tuple[float, float], Array]
"""Of a piece of furniture: kind; centre (x, height above the floor, z) and half sizes along its axes, metres; pitch and
roll, radians; materials [MATERIAL] or [6, MATERIAL]."""


@dataclass
class Scene:
    """All numbers of one scene; colours are linear RGB, P is `PRIMITIVES` and number 0 the shell."""

    half: Array  # [P, 3] half sizes along a primitive's own axes
    rest: Array  # [P, 3, 3] rotation primitive to world, before the turn about the vertical
    path: Waves  # [P, 4] x, y, z of the centre and the turn about the vertical
    moving: Array  # [P] bool
    materials: Array  # [P, 6, MATERIAL]
    camera: Waves  # [6] x, y, z, yaw, pitch, roll
    field_of_view: Array  # [] radians, horizontal
    open_air: Array  # [] bool: every face of the shell but the floor is sky
    ambient: Array  # [2, 3] light from below and from above
    used: Array  # [P] bool: False for primitives that this scene lacks
    key_way: Array  # [3] unit vector towards the light that casts shadows, infinitely far away
    key_colour: Array  # [3]
    shadow: Array  # [] share of the key light that a full shadow takes
    lamp_places: Array  # [LAMPS, 3] lights without shadows
    lamp_colours: Array  # [LAMPS, 3]
    lamp_reach: Array  # [LAMPS]
    sky: Array  # [3, 3] colours of horizon, zenith and clouds
    clouds: Array  # [4] tile, size of the clouds, cover 0..1, offset
    haze: Array  # [] per metre
    exposure: Array  # [3] gain per channel (exposure and white balance)
    gamma: Array  # []
    blur: Array  # [] share of each of the four neighbours in a pixel


def stack(scenes: list[Scene]) -> Scene:
    """Scenes as one, every array with a leading batch axis."""

    def joined(values: list[Any]) -> Any:
        if isinstance(values[0], Waves):
            return Waves(*(np.stack([getattr(v, f.name) for v in values]) for f in fields(Waves)))
        return np.stack([np.asarray(v) for v in values])

    return Scene(**{f.name: joined([getattr(s, f.name) for s in scenes]) for f in fields(Scene)})


class SceneBuilder:
    """Collects the primitives of one scene and refuses those which would come too near to the camera."""

    def __init__(self, rng: np.random.Generator, reach: tuple[float, float, float], height: float) -> None:
        """reach: half sizes (x, y, z) of the box of camera places; height: of its middle above the floor; in metres."""
        self.rng = rng
        self.reach = np.array(reach)
        self.height = height
        self.heading = float(rng.uniform(-np.pi, np.pi))
        self.hues = self._hues(3)
        self.saturation = float(rng.uniform(0.2, 1.2))
        self.half = np.full((PRIMITIVES, 3), 1e-2)
        self.rest = np.tile(np.eye(3), (PRIMITIVES, 1, 1))
        self.centre = np.zeros((PRIMITIVES, 4))
        self.waves = np.zeros((3, PRIMITIVES, 4, OBJECT_WAVES))
        self.moving = np.zeros(PRIMITIVES, bool)
        self.materials = np.zeros((PRIMITIVES, 6, MATERIAL))
        self._fresh = list(self._pool(32))
        self._used = {BOX: 0, CYLINDER: 0, BALL: 0}

    def _hues(self, count: int) -> Array:
        """Hues as the world has them: half are wood, sand and brick, then leaves and skies, and some of any kind."""
        rng = self.rng
        kinds = np.array([(0.085, 0.035), (0.28, 0.06), (0.58, 0.05)])
        middle, spread = kinds[rng.choice(3, count, p=(0.6, 0.2, 0.2))].T
        return np.where(rng.random(count) < 0.82, middle + spread * rng.normal(size=count), rng.random(count))

    def _colours(self, light: tuple[float, float], count: int) -> Array:
        """Random linear colours [count, 3], often in one of the scene's hues; light: range of the sRGB maximum."""
        rng = self.rng
        hue = np.where(rng.random(count) < 0.6, self.hues[rng.integers(3, size=count)], self._hues(count))
        hue = hue + rng.normal(0, 0.03, count)
        saturation = np.minimum(0.95, rng.beta(1.2, 2.4, count) * self.saturation)
        # The usual HSV to RGB: every channel is a clipped triangle wave of the hue.
        wave = np.abs((6 * hue[:, None] + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
        value = rng.uniform(*light, count)[:, None]
        return (value * (1 - saturation[:, None] * (1 - np.clip(wave, 0, 1)))) ** 2.2

    def _pool(self, count: int) -> Array:
        """Materials [count, MATERIAL] without tile, scale and turn; drawn together because one by one is slow."""
        rng = self.rng
        first = self._colours((0.1, 0.95), count)
        other = self._colours((0.1, 0.95), count)
        second = np.where(rng.random((count, 1)) < 0.5, first * rng.uniform(0.25, 2.5, (count, 1)), other)
        second = first + (np.clip(second, 0.01, 0.95) - first) * rng.uniform(0.3, 1.0, (count, 1))
        third = first + (self._colours((0.02, 1.0), count) - first) * rng.uniform(0.5, 1.0, (count, 1))
        pool = np.zeros((count, MATERIAL))
        pool[:, 5:7] = rng.random((count, 2))
        pool[:, 7:10], pool[:, 10:13], pool[:, 13:16] = first, second, third
        pool[:, 16] = rng.uniform(0.6, 1.6, count)
        return pool

    def material(self, size: float, *patterns: str, scale: float | None = None, turn: float | None = None) -> Array:
        """A random material for a surface of `size` metres; scale: metres per tile; turn: of the pattern, radians."""
        rng = self.rng
        if scale is None:
            scale = min(12.0, max(0.15, size * math.exp(rng.uniform(-1.3, 0.5))))
        if turn is None:
            turn = math.pi / 2 * rng.integers(2) if rng.random() < 0.85 else rng.uniform(0, math.pi)
        if not self._fresh:
            self._fresh = list(self._pool(16))
        material = self._fresh.pop()
        cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
        material[:5] = textures.choose(rng, *patterns), cos, -sin, sin, cos
        material[17] = 1.0 / scale
        return material

    def clear(self, centre: Array, extent: Array) -> bool:
        """Whether an upright box (centre, half sizes along the world's axes) is far enough from every camera place."""
        middle = np.array([0.0, -self.height, 0.0])
        return bool((np.abs(centre - middle) - extent - self.reach).max() >= MARGIN)

    def add(
        self,
        kind: str,
        centre: tuple[float, float, float],
        half: tuple[float, float, float],
        angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
        materials: Array | None = None,
        waves: Array | None = None,
    ) -> bool:
        """Adds a primitive if a slot of its kind is free and it stays clear of the camera.

        centre, half: metres; angles: yaw, pitch, roll; materials: [MATERIAL] or [6, MATERIAL]; waves: [3, 4,
        OBJECT_WAVES] amplitude, frequency and phase for an object that moves.
        """
        if self._used[kind] == len(_SLOTS[kind]):
            return False
        size = np.array(half)
        rotation = euler(np.array(angles))
        extent = np.abs(rotation) @ size
        if waves is not None:
            extent = np.array([np.hypot(extent[0], extent[2])] * 3) * [1, 0, 1] + [0, extent[1], 0]
            extent += np.abs(waves[0]).sum(-1)[:3]
        if not self.clear(np.array(centre), extent):
            return False
        slot = _SLOTS[kind][self._used[kind]]
        self._used[kind] += 1
        self.half[slot], self.rest[slot], self.centre[slot, :3] = size, rotation, centre
        if materials is None:
            materials = self.object_materials(float(size.max()) * 2)
        self.materials[slot] = materials
        if waves is not None:
            self.waves[:, slot], self.moving[slot] = waves, True
        return True

    def add_group(self, x: float, z: float, yaw: float, parts: Sequence[Part], waves: Array | None = None) -> bool:
        """Adds something of several parts that stands at (x, z), turned by yaw, or goes from there: all, or none.

        waves: as of `add`, the same for every part, without turns.
        """
        turn = euler(np.array([yaw, 0.0, 0.0]))
        placed = []
        for kind, (right, height, forward), half, (pitch, roll), materials in parts:
            centre = turn @ np.array([right, -height, forward]) + np.array([x, 0.0, z])
            angles = (yaw, pitch, roll)
            extent = np.abs(euler(np.array(angles))) @ np.array(half)
            if waves is not None:
                extent = extent + np.abs(waves[0]).sum(-1)[:3]
            if not self.clear(centre, extent):
                return False
            placed.append((kind, centre, half, angles, materials))
        for kind, slots in _SLOTS.items():
            if self._used[kind] + sum(part[0] == kind for part in placed) > len(slots):
                return False
        for kind, centre, half, angles, materials in placed:
            self.add(kind, tuple(centre), half, angles, materials, waves)
        return True

    def object_materials(self, size: float) -> Array:
        """Materials [6, MATERIAL] of an object: mostly one for all faces, sometimes different tops or fronts."""
        faces = np.empty((6, MATERIAL))
        faces[:] = self.material(size, *(("plain",) if self.rng.random() < 0.15 else ()))
        choice = self.rng.random()
        if choice < 0.25:
            faces[2:4] = self.material(size)
        elif choice < 0.4:
            faces[4:6] = self.material(size)
        return faces

    def ahead(self, near: float, far: float, spread: float = 1.0) -> tuple[float, float]:
        """A random place (x, z) in front of the camera, near or far equally often on a logarithmic scale."""
        distance = math.exp(self.rng.uniform(math.log(near), math.log(max(far, near))))
        angle = self.heading + self.rng.uniform(-spread, spread)
        return distance * math.sin(angle), distance * math.cos(angle)

    def used(self) -> Array:
        """Which primitives there are, [P] bool; the shell always is."""
        used = np.zeros(PRIMITIVES, bool)
        used[0] = True
        for kind, count in self._used.items():
            used[list(_SLOTS[kind][:count])] = True
        return used

    def paths(self) -> Waves:
        """Where all primitives are over time."""
        return Waves(self.centre, self.waves[0], self.waves[1], self.waves[2])
