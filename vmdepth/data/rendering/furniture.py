"""Things that stand, lie, lean, hang and move in rendered scenes; every function tries a few places and may give up."""

from __future__ import annotations

import numpy as np

from vmdepth.data.rendering.motion import Array
from vmdepth.data.rendering.scenes import BALL, BOX, CYLINDER, OBJECT_WAVES, SceneBuilder


def movers(build: SceneBuilder, near: float, far: float, size: tuple[float, float], fastest: float) -> None:
    """Adds up to three objects that go to and fro or in circles, and turn."""
    rng = build.rng
    for _ in range(rng.choice([0, 1, 2, 3], p=(0.2, 0.2, 0.3, 0.3))):
        kind = rng.choice([BOX, CYLINDER, BALL], p=(0.45, 0.25, 0.3))
        for _ in range(12):
            x, z = build.ahead(near, far, 0.5)
            distance = float(np.hypot(x, z))
            half = np.exp(rng.uniform(np.log(size[0]), np.log(size[1]), 3)) * min(1.0, 0.35 + distance / far)
            if kind == CYLINDER or (kind == BALL and rng.random() < 0.7):
                half[2] = half[0]
            if kind == BALL and rng.random() < 0.7:
                half[:] = half[0]
            reach = float(np.exp(rng.uniform(np.log(0.15), np.log(0.35)))) * distance
            speed = rng.uniform(0.1, 0.35) * min(fastest, 0.3 + 0.35 * distance)
            waves = np.zeros((3, 4, OBJECT_WAVES))
            angle = rng.uniform(0, 2 * np.pi)
            waves[2] = rng.uniform(0, 2 * np.pi, (4, OBJECT_WAVES))
            waves[0, 0, 0], waves[0, 2, 0] = reach * np.cos(angle), reach * np.sin(angle)
            waves[1, :, 0] = 2.5 * speed / reach
            if rng.random() < 0.5:  # a line instead of an ellipse
                waves[2, 2, 0] = waves[2, 0, 0]
            height = float(half[1])
            if rng.random() < 0.3:  # in the air
                waves[0, 1, 0] = rng.uniform(0.02, 0.25) * distance * 0.5
                height += waves[0, 1, 0] + rng.uniform(0, 1.5)
            waves[0, 3, 1], waves[1, 3, 1] = rng.uniform(0.2, 1.5), rng.uniform(0.3, 1.5)
            if build.add(kind, (x, -height, z), tuple(half), (rng.uniform(0, 6.3), 0.0, 0.0), waves=waves):
                break


def nearest_wall(build: SceneBuilder, centre: Array, half: Array) -> tuple[float, float, int, float]:
    """A place on a wall in front of the camera: x, z, the wall's axis (0 or 2) and on which side it is (±1)."""
    angle = build.heading + build.rng.uniform(-1.0, 1.0)
    way = np.array([np.sin(angle), np.cos(angle)])
    side = np.sign(way)
    reach = (centre[[0, 2]] + side * half[[0, 2]]) / way
    first = int(np.argmin(reach))
    x, z = reach[first] * way
    return float(x), float(z), 2 * first, float(side[first])


def against_wall(build: SceneBuilder, centre: Array, half: Array, deep: float, wide: float, high: float) -> None:
    """A cupboard, shelf or bed: half sizes."""
    for _ in range(6):
        x, z, axis, side = nearest_wall(build, centre, half)
        x, z = (x - side * deep, z) if axis == 0 else (x, z - side * deep)
        size = (deep, high, wide) if axis == 0 else (wide, high, deep)
        if build.add(BOX, (x, -high, z), size):
            if build.rng.random() < 0.5:  # something on top
                small = build.rng.uniform(0.06, 0.25, 3)
                if build.rng.random() < 0.5:
                    small[2] = small[0]
                    build.add(CYLINDER, (x, -2 * high - small[1], z), tuple(small))
                else:
                    build.add(BOX, (x, -2 * high - small[1], z), tuple(small), (build.rng.uniform(0, 3), 0, 0))
            return
        deep, wide, high = deep * 0.8, wide * 0.8, high * 0.85


def on_wall(build: SceneBuilder, centre: Array, half: Array) -> None:
    """A picture, a window, a wall shelf or a door."""
    rng = build.rng
    x, z, axis, _ = nearest_wall(build, centre, half)
    wide, high = rng.uniform(0.15, 0.8), rng.uniform(0.15, 0.6)
    deep = rng.choice([0.02, 0.04, 0.15])
    y = -rng.uniform(0.9, 2 * half[1] - 0.3)
    if rng.random() < 0.3:
        wide, high = 0.45, 1.0
        y = -high
    size = (deep, high, wide) if axis == 0 else (wide, high, deep)
    build.add(BOX, (x, y, z), size, materials=build.object_materials(2 * max(wide, high)))


def table(build: SceneBuilder, half: Array) -> None:
    """A board on one round leg. half: half sizes of the room, metres."""
    rng = build.rng
    for _ in range(6):
        x, z = build.ahead(1.0, float(half.max()) * 1.2, 0.7)
        high, yaw = rng.uniform(0.4, 0.95), rng.uniform(0, np.pi)
        wide, deep = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.6)
        if build.add(BOX, (x, -high, z), (wide, 0.025, deep), (yaw, 0, 0)):
            leg = rng.uniform(0.04, 0.3)
            build.add(CYLINDER, (x, -high / 2, z), (leg, high / 2, leg))
            small = rng.uniform(0.05, 0.2, 3)
            build.add(BOX, (x + rng.uniform(-0.2, 0.2), -high - 0.025 - small[1], z), tuple(small), (yaw + 0.4, 0, 0))
            radius = rng.uniform(0.05, 0.16)
            build.add(BALL, (x, -high - 0.025 - radius, z + rng.uniform(-0.2, 0.2)), (radius, radius, radius))
            return


def on_floor(build: SceneBuilder, near: float, far: float, size: float = 1.0) -> None:
    """A box on the floor, sometimes with another on it or tipped over."""
    rng = build.rng
    for _ in range(6):
        x, z = build.ahead(near, far)
        half = np.exp(rng.uniform(np.log(0.08), np.log(0.6), 3)) * size
        angles = (rng.uniform(0, np.pi), 0.0, 0.0)
        if rng.random() < 0.2:
            angles = (angles[0], rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6))
        if build.add(BOX, (x, -half[1], z), tuple(half), angles):
            if rng.random() < 0.25:
                top = half * rng.uniform(0.4, 0.9, 3)
                build.add(BOX, (x, -2 * half[1] - top[1], z), tuple(top), (rng.uniform(0, np.pi), 0.0, 0.0))
            return


def upright(build: SceneBuilder, near: float, far: float, ceiling: float) -> None:
    """A column, a lamp post or a bin."""
    rng = build.rng
    for _ in range(6):
        x, z = build.ahead(near, far)
        radius = np.exp(rng.uniform(np.log(0.03), np.log(0.35)))
        high = ceiling / 2 if rng.random() < 0.4 else rng.uniform(0.1, 0.8)
        if build.add(CYLINDER, (x, -high, z), (radius, high, radius * rng.uniform(0.8, 1.2))):
            return


def ball(build: SceneBuilder, near: float, far: float, ceiling: float) -> None:
    """A ball or an egg on the floor, or a lamp in the air."""
    rng = build.rng
    for _ in range(6):
        x, z = build.ahead(near, far)
        half = np.exp(rng.uniform(np.log(0.08), np.log(0.5))) * rng.uniform(0.7, 1.2, 3)
        if rng.random() < 0.5:
            half[:] = half[0]
        height = half[1] if rng.random() < 0.7 else rng.uniform(0.5, ceiling)
        if build.add(BALL, (x, -height, z), tuple(half), (rng.uniform(0, 6), 0, 0)):
            return


def slanted(build: SceneBuilder, centre: Array, half: Array) -> None:
    """A roof slope under the ceiling, a ramp, or a board that leans."""
    rng = build.rng
    kind = rng.random()
    if kind < 0.4:
        axis, side = rng.choice([0, 2]), rng.choice([-1.0, 1.0])
        place = centre.copy()
        place[axis] += side * half[axis]
        place[1] = -2 * half[1]
        deep = rng.uniform(0.4, 0.9) * half[axis]
        angle = side * rng.uniform(0.4, 0.9)
        if axis == 0:
            build.add(BOX, tuple(place), (deep * 2, 0.03, half[2]), (0.0, 0.0, angle), build.material(3.0))
        else:
            build.add(BOX, tuple(place), (half[0], 0.03, deep * 2), (0.0, -angle, 0.0), build.material(3.0))
        return
    for _ in range(6):
        x, z = build.ahead(1.0, float(half.max()) * 1.3)
        size = rng.uniform((0.25, 0.015, 0.3), (0.8, 0.05, 1.2))
        tilt = rng.uniform(0.15, 0.6) if kind < 0.7 else rng.uniform(0.9, 1.3)
        if build.add(BOX, (x, -size[2] * np.sin(tilt), z), tuple(size), (rng.uniform(0, 2 * np.pi), tilt, 0.0)):
            return
