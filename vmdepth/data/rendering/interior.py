"""Furnished interiors, filmed by hand from near: tables, chairs, counters, shelves, and what lies on them."""

from __future__ import annotations

import itertools

import numpy as np

from vmdepth.data.rendering import furniture
from vmdepth.data.rendering.motion import Array
from vmdepth.data.rendering.scenes import BALL, BOX, CYLINDER, LAMPS, MARGIN, Part, Scene, SceneBuilder
from vmdepth.data.rendering.staging import camera_path, finish, shell, speed
from vmdepth.data.rendering.street import person

_WALLS = ("plain", "plain", "plain", "plain", "cloudy", "tiles", "bricks", "weave")
_FLOORS = ("planks", "planks", "tiles", "cloudy", "speckle", "weave", "stripes", "plain")


def interior(rng: np.random.Generator, pace: str) -> Scene:
    """A room whose furniture stands where people put it, seen from the height of a hand or a head, often from above."""
    size = rng.uniform((2.6, 2.3, 2.6), (6.5, 3.1, 6.5))
    reach = np.minimum(size / 2 - MARGIN - 0.2, rng.uniform(0.1, 0.8, 3)) * (0.1 if pace == "still" else 1.0)
    reach[1] = min(reach[1] * 0.4, 0.25)
    reach = np.maximum(reach, 0.04)
    build = SceneBuilder(rng, tuple(reach), rng.uniform(1.0, 1.75))
    slack = np.maximum(size[[0, 2]] / 2 - reach[[0, 2]] - MARGIN - 0.05, 0.0)
    ahead = np.array([np.sin(build.heading), np.cos(build.heading)])
    middle = np.clip(slack * (ahead * rng.uniform(0, 1.2) + rng.uniform(-0.4, 0.4, 2)), -slack, slack)
    centre = np.array([middle[0], -size[1] / 2, middle[1]])
    half = size / 2
    shell(build, centre, half, _WALLS, _FLOORS)
    if rng.random() < 0.7:  # most walls are painted light
        build.materials[0, [0, 1, 4, 5], 7:16] = 1 - (1 - build.materials[0, [0, 1, 4, 5], 7:16]) * rng.uniform(
            0.1, 0.6
        )

    if rng.random() < 0.2:
        x, z = build.ahead(0.9, 3.0, 0.6)
        person(build, x, z, moves=rng.random() < 0.5)
    if rng.random() < 0.35:
        furniture.movers(build, 0.9, 3.0, (0.08, 0.35), 1.0)
    for _ in range(rng.integers(2, 6)):
        _BY_THE_WALL[rng.integers(len(_BY_THE_WALL))](build, centre, half)
    if rng.random() < 0.8:
        _dining(build)
    for _ in range(rng.integers(0, 3)):
        x, z = build.ahead(0.7, 2.5, 0.7)
        _chair(build, x, z, rng.uniform(0, 2 * np.pi))
    for _ in range(rng.integers(0, 3)):
        _wall_shelf(build, centre, half)
    for _ in range(rng.integers(1, 5)):
        furniture.on_wall(build, centre, half)
    for _ in range(rng.integers(0, 3)):
        furniture.on_floor(build, 0.7, 3.0, size=0.6)
    if rng.random() < 0.25:
        furniture.upright(build, 0.8, 3.0, size[1])

    pitch = float(np.clip(rng.normal(-0.35, 0.22), -0.95, 0.2))
    camera = camera_path(build, speed(rng, pace, 1.8), pitch, (0.05, 0.7))
    lamps = centre + rng.uniform(-0.8, 0.8, (LAMPS, 3)) * half
    lamps[:, 1] = -size[1] * rng.uniform(0.6, 0.95, LAMPS)
    return finish(build, camera, open_air=False, sun=rng.random() < 0.4, lamps=lamps, reach=float(half.max()) * 2)


def _clutter(
    build: SceneBuilder, x: float, z: float, yaw: float, top: float, wide: float, deep: float, count: int
) -> None:
    """Papers, books, cups, bottles, boxes and bowls on a surface `top` metres high, 2·wide by 2·deep."""
    rng = build.rng
    cos, sin = np.cos(yaw), np.sin(yaw)
    for _ in range(count):
        u, v = rng.uniform(-0.85, 0.85, 2) * (wide, deep)
        place = x + cos * u + sin * v, z - sin * u + cos * v
        turn = yaw + rng.normal(0, 0.5)
        kind = rng.choice(
            ["flat", "book", "cup", "bottle", "box", "bowl", "screen"], p=(0.22, 0.2, 0.2, 0.1, 0.16, 0.07, 0.05)
        )
        if kind in ("cup", "bottle"):
            radius, high = (rng.uniform(0.03, 0.06), rng.uniform(0.03, 0.08)) if kind == "cup" else (0.035, 0.14)
            material = build.material(0.3, "plain", "plain", "stripes", "spots")
            build.add(CYLINDER, (place[0], -top - high, place[1]), (radius, high, radius), materials=material)
        elif kind == "bowl":
            radius = rng.uniform(0.04, 0.12)
            build.add(BALL, (place[0], -top - 0.6 * radius, place[1]), (radius, radius * rng.uniform(0.5, 1), radius))
        elif kind == "screen":
            material = build.object_materials(0.6)
            build.add(BOX, (place[0], -top - 0.24, place[1]), (0.28, 0.17, 0.02), (turn, 0.1, 0.0), material)
            build.add(BOX, (place[0], -top - 0.04, place[1]), (0.09, 0.04, 0.05), (turn, 0.0, 0.0), material)
        else:
            least, most = {
                "flat": ((0.08, 0.001, 0.1), (0.16, 0.006, 0.22)),
                "book": ((0.07, 0.01, 0.1), (0.14, 0.04, 0.17)),
                "box": ((0.05, 0.04, 0.05), (0.2, 0.15, 0.16)),
            }[str(kind)]
            half = rng.uniform(least, most)
            build.add(BOX, (place[0], -top - half[1], place[1]), tuple(half), (turn, 0.0, 0.0))


def _wood(build: SceneBuilder, size: float) -> Array:
    return build.material(size, "planks", "planks", "plain", "plain", "cloudy", "marble", "speckle")


def _legs(wide: float, deep: float, high: float, thick: float, material: Array) -> list[Part]:
    """Four legs of half width `thick` under a top 2·wide by 2·deep, `high` metres above the floor."""
    return [
        (BOX, (u * (wide - thick), high / 2, v * (deep - thick)), (thick, high / 2, thick), (0.0, 0.0), material)
        for u in (-1, 1)
        for v in (-1, 1)
    ]


def _table(build: SceneBuilder, x: float, z: float, yaw: float, wide: float, deep: float, high: float) -> bool:
    rng = build.rng
    material = _wood(build, 2 * wide)
    thick = rng.uniform(0.012, 0.03)
    if rng.random() < 0.15:  # round, on one column
        parts: list[Part] = [
            (CYLINDER, (0, high - thick, 0), (wide, thick, wide), (0.0, 0.0), material),
            (CYLINDER, (0, high / 2, 0), (0.05, high / 2, 0.05), (0.0, 0.0), material),
        ]
    else:
        top: Part = (BOX, (0, high - thick, 0), (wide, thick, deep), (0.0, 0.0), material)
        leg = rng.uniform(0.015, 0.05)
        parts = [top, *_legs(wide, deep, high - 2 * thick, leg, material if rng.random() < 0.6 else _wood(build, 0.6))]
    if not build.add_group(x, z, yaw, parts):
        return False
    _clutter(build, x, z, yaw, high, wide, deep, int(rng.integers(0, 7)))
    return True


def _dining(build: SceneBuilder) -> None:
    """A table in front of the camera, with chairs about it."""
    rng = build.rng
    for _ in range(8):
        x, z = build.ahead(0.7, 2.6, 0.6)
        yaw = rng.uniform(0, np.pi)
        wide, deep, high = rng.uniform((0.35, 0.3, 0.42), (0.95, 0.5, 0.8))
        if _table(build, x, z, yaw, wide, deep, high):
            break
    else:
        return
    cos, sin = np.cos(yaw), np.sin(yaw)
    for _ in range(rng.integers(0, 5)):
        side = rng.choice([-1, 1])
        u, v = rng.uniform(-0.7, 0.7) * wide, side * (deep + rng.uniform(0.0, 0.4))
        turn = yaw + (0.0 if side > 0 else np.pi) + rng.normal(0, 0.25)
        if rng.random() < 0.25:
            u, v, turn = side * (wide + rng.uniform(0, 0.35)), 0.0, yaw + side * np.pi / 2 + rng.normal(0, 0.25)
        _chair(build, x + cos * u + sin * v, z - sin * u + cos * v, turn)


def _chair(build: SceneBuilder, x: float, z: float, yaw: float) -> None:
    """Its back is towards +z of its own frame."""
    rng = build.rng
    seat, half, top = rng.uniform(0.4, 0.5), rng.uniform(0.18, 0.25), rng.uniform(0.75, 1.05)
    wood = _wood(build, 0.5)
    cushion = build.material(0.5, "plain", "weave", "cloudy", "spots") if rng.random() < 0.4 else wood
    parts: list[Part] = [(BOX, (0, seat, 0), (half, 0.02, half), (0.0, 0.0), cushion)]
    lean = rng.uniform(-0.2, 0.0)
    kind = rng.random()
    if kind < 0.4:  # slats between two posts
        middle = (seat + top) / 2
        post = (0.02, (top - seat) / 2, 0.02)
        parts += [(BOX, (u * (half - 0.02), middle, half), post, (lean, 0.0), wood) for u in (-1, 1)]
        for n in range(int(rng.integers(2, 5))):
            height = top - 0.04 - n * (top - seat) / 5
            parts.append((BOX, (0, height, half + (height - middle) * -lean), (half, 0.025, 0.012), (lean, 0.0), wood))
    else:
        low = seat + (0.0 if kind < 0.7 else 0.15)
        parts.append((BOX, (0, (low + top) / 2, half), (half, (top - low) / 2, 0.02), (lean, 0.0), cushion))
    if rng.random() < 0.8:
        parts += _legs(half, half, seat, rng.uniform(0.012, 0.025), wood)
    else:
        parts.append((CYLINDER, (0, seat / 2, 0), (0.03, seat / 2, 0.03), (0.0, 0.0), wood))
        parts.append((CYLINDER, (0, 0.03, 0), (0.28, 0.03, 0.28), (0.0, 0.0), wood))
    build.add_group(x, z, yaw, parts)


def _wall_place(build: SceneBuilder, centre: Array, half: Array, deep: float) -> tuple[float, float, float]:
    """Where something of half depth `deep` stands against a wall in view: x, z, and the yaw whose −z looks inwards."""
    x, z, axis, side = furniture.nearest_wall(build, centre, half)
    if axis == 0:
        return x - side * deep, z, side * np.pi / 2
    return x, z - side * deep, 0.0 if side > 0 else np.pi


def _counter(build: SceneBuilder, centre: Array, half: Array) -> None:
    """A run of low cupboards under a slab, things on it, and sometimes cupboards on the wall above."""
    rng = build.rng
    deep, long, high = rng.uniform(0.2, 0.33), rng.uniform(0.5, 2.2), rng.uniform(0.7, 0.98)
    x, z, yaw = _wall_place(build, centre, half, deep)
    front = build.material(2 * long, "plain", "plain", "planks", "tiles", scale=float(rng.uniform(0.8, 3.0)), turn=0.0)
    slab = build.material(1.0, "plain", "speckle", "marble", "cloudy", "planks")
    parts: list[Part] = [
        (BOX, (0, (high - 0.04) / 2, 0.01), (long, (high - 0.04) / 2, deep - 0.01), (0.0, 0.0), front),
        (BOX, (0, high - 0.02, 0), (long + 0.01, 0.02, deep), (0.0, 0.0), slab),
    ]
    for n in range(int(rng.integers(0, 5))):  # handles, gaps between doors
        u = (-1 + 2 * (n + 1) / 5) * long
        parts.append((BOX, (u, high - 0.14, -deep + 0.005), (0.06, 0.008, 0.01), (0.0, 0.0), slab))
    if not build.add_group(x, z, yaw, parts):
        return
    _clutter(build, x, z, yaw, high, long, deep, int(rng.integers(1, 8)))
    if rng.random() < 0.5:
        rise, tall = rng.uniform(1.35, 1.6), rng.uniform(0.2, 0.4)
        above: Part = (
            BOX,
            (0, rise + tall, deep - 0.17),
            (long * rng.uniform(0.4, 1.0), tall, 0.17),
            (0.0, 0.0),
            front,
        )
        build.add_group(x, z, yaw, [above])


def _desk(build: SceneBuilder, centre: Array, half: Array) -> None:
    """A table against the wall with a screen on it and a chair before it."""
    rng = build.rng
    wide, deep, high = rng.uniform((0.5, 0.28, 0.68), (0.9, 0.45, 0.8))
    x, z, yaw = _wall_place(build, centre, half, deep)
    if not _table(build, x, z, yaw, wide, deep, high):
        return
    dark = build.object_materials(0.6)
    screen: Part = (BOX, (rng.uniform(-0.3, 0.3), high + 0.3, 0.1), (0.28, 0.17, 0.015), (0.0, 0.0), dark)
    foot: Part = (BOX, (screen[1][0], high + 0.07, 0.13), (0.05, 0.07, 0.03), (0.0, 0.0), dark)
    build.add_group(x, z, yaw, [screen, foot])
    away = deep + rng.uniform(0.05, 0.4)
    _chair(build, x - away * np.sin(yaw), z - away * np.cos(yaw), yaw + np.pi + rng.normal(0, 0.4))


def _bookcase(build: SceneBuilder, centre: Array, half: Array) -> None:
    """Boards between two sides before a back, with rows of things on them."""
    rng = build.rng
    wide, deep, high = rng.uniform((0.3, 0.12, 0.9), (0.7, 0.2, 2.1))
    x, z, yaw = _wall_place(build, centre, half, deep)
    wood, things = _wood(build, 1.0), build.material(1.2, "books", "books", "stripes", "plain", turn=0.0)
    boards = int(rng.integers(2, 5))
    flat = (0.0, 0.0)
    parts: list[Part] = [(BOX, (u * wide, high / 2, 0), (0.015, high / 2, deep), flat, wood) for u in (-1, 1)]
    parts.append((BOX, (0, high / 2, deep - 0.01), (wide, high / 2, 0.01), flat, wood))
    for n in range(boards + 1):
        height = 0.05 + n * (high - 0.07) / boards
        parts.append((BOX, (0, height, 0), (wide, 0.012, deep), flat, wood))
        if n < boards and rng.random() < 0.7:
            tall, long = rng.uniform(0.08, 0.14), wide * rng.uniform(0.3, 0.9)
            u = rng.choice([-1, 1]) * (wide - long) * 0.9
            parts.append((BOX, (u, height + 0.012 + tall, 0.03), (long, tall, deep * 0.7), flat, things))
    build.add_group(x, z, yaw, parts)


def _sofa(build: SceneBuilder, centre: Array, half: Array) -> None:
    """A sofa or, without arms and lower, a bed."""
    rng = build.rng
    wide, deep, seat = rng.uniform((0.6, 0.38, 0.36), (1.1, 0.48, 0.46))
    bed = rng.random() < 0.35
    deep = 1.0 if bed else deep
    x, z, yaw = _wall_place(build, centre, half, deep)
    cloth = build.material(1.5, "plain", "weave", "cloudy", "stripes")
    flat = (0.0, 0.0)
    parts: list[Part] = [(BOX, (0, seat / 2, 0), (wide, seat / 2, deep), flat, cloth)]
    back = rng.uniform(0.7, 0.95)
    parts.append((BOX, (0, back / 2, deep - 0.1), (wide, back / 2, 0.1), flat, cloth))
    if not bed:
        parts += [(BOX, (u * wide, 0.3, 0), (0.1, 0.3, deep), flat, cloth) for u in (-1, 1)]
    for _ in range(rng.integers(0, 3)):
        pillow = build.material(0.4, "plain", "stripes", "spots")
        u = rng.uniform(-0.7, 0.7) * wide
        parts.append((BOX, (u, seat + 0.16, deep - 0.28), (0.2, 0.18, 0.06), (-0.3, rng.normal(0, 0.2)), pillow))
    build.add_group(x, z, yaw, parts)


def _wall_shelf(build: SceneBuilder, centre: Array, half: Array) -> None:
    """A board on the wall, with books and boxes that stand on it."""
    rng = build.rng
    deep, wide, high = rng.uniform(0.08, 0.14), rng.uniform(0.25, 0.8), rng.uniform(1.0, 1.8)
    x, z, yaw = _wall_place(build, centre, half, deep)
    flat = (0.0, 0.0)
    parts: list[Part] = [(BOX, (0, high, 0), (wide, 0.012, deep), flat, _wood(build, 0.8))]
    edges = np.sort(rng.uniform(-wide, wide, int(rng.integers(2, 7))))
    for left, right in itertools.pairwise(edges):
        if rng.random() < 0.75:
            tall, thick = rng.uniform(0.05, 0.16), (right - left) / 2 * 0.9
            material = build.material(0.4, "plain", "books", "stripes", "spots", turn=0.0)
            parts.append(
                (BOX, ((left + right) / 2, high + 0.012 + tall, 0.02), (thick, tall, deep * 0.6), flat, material)
            )
    build.add_group(x, z, yaw, parts)


_BY_THE_WALL = (_counter, _counter, _bookcase, _desk, _sofa)
