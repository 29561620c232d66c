"""Random scenes: furnished interiors, rooms of anything, corridors, open ground and streets."""

from __future__ import annotations

import numpy as np

from vmdepth.data.rendering import furniture
from vmdepth.data.rendering.interior import interior
from vmdepth.data.rendering.scenes import (
    BALL,
    BOX,
    CYLINDER,
    LAMPS,
    MARGIN,
    Scene,
    SceneBuilder,
)
from vmdepth.data.rendering.staging import camera_path, finish, shell, speed
from vmdepth.data.rendering.street import person, street

KINDS = ("interior", "room", "corridor", "open", "street")


def draw_scene(seed: int) -> Scene:
    """The scene of a seed (any integer from 0 on)."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(KINDS, p=(0.44, 0.14, 0.1, 0.16, 0.16))
    pace = rng.choice(("still", "hand", "walk", "fast"), p=(0.1, 0.35, 0.4, 0.15))
    draw = {"interior": interior, "room": _room, "corridor": _corridor, "open": _open_ground, "street": street}
    return draw[kind](rng, pace)


_WALLS = ("plain", "cloudy", "bricks", "stripes", "weave", "tiles", "spots", "speckle", "planks", "marble", "books")
_FLOORS = ("planks", "planks", "tiles", "checkers", "cloudy", "speckle", "weave", "stones", "marble", "spots")


def _people(build: SceneBuilder, near: float, far: float) -> None:
    """Nobody, or one or two who stand or walk."""
    for _ in range(build.rng.choice([0, 1, 2], p=(0.4, 0.35, 0.25))):
        x, z = build.ahead(near, far, 0.6)
        person(build, x, z, moves=build.rng.random() < 0.6)


def _room(rng: np.random.Generator, pace: str) -> Scene:
    size = rng.uniform((3.2, 2.3, 3.2), (8.5, 3.6, 8.5))
    reach = np.minimum(size / 2 - MARGIN - 0.3, rng.uniform(0.15, 1.2, 3)) * (0.1 if pace == "still" else 1.0)
    reach[1] = max(0.04, min(reach[1] * 0.3, 0.15))
    reach = np.maximum(reach, 0.04)
    height = rng.uniform(0.7, min(1.9, size[1] - 0.7))
    build = SceneBuilder(rng, tuple(reach), height)
    # The camera's box is somewhere in the room, mostly away from the wall it looks at.
    slack = size[[0, 2]] / 2 - reach[[0, 2]] - MARGIN - 0.05
    ahead = np.array([np.sin(build.heading), np.cos(build.heading)])
    middle = np.clip(slack * (ahead * rng.uniform(0, 1.2) + rng.uniform(-0.4, 0.4, 2)), -slack, slack)
    centre = np.array([middle[0], -size[1] / 2, middle[1]])
    half = size / 2
    shell(build, centre, half, _WALLS, _FLOORS)

    furniture.movers(build, 1.0, 3.5, (0.12, 0.55), 1.5)
    _people(build, 1.2, 4.0)
    for _ in range(rng.integers(1, 3)):
        furniture.slanted(build, centre, half)
    for _ in range(rng.integers(3, 6)):
        deep, wide, high = rng.uniform((0.2, 0.3, 0.3), (0.45, 1.2, 1.1))
        furniture.against_wall(build, centre, half, float(deep), float(wide), float(high))
    for _ in range(rng.integers(1, 4)):
        furniture.on_wall(build, centre, half)
    if rng.random() < 0.6:
        furniture.table(build, half)
    for _ in range(rng.integers(2, 5)):
        furniture.on_floor(build, 0.8, float(half.max()) * 1.3)
    for _ in range(rng.integers(1, 4)):
        furniture.upright(build, 0.8, float(half.max()) * 1.3, size[1])
    for _ in range(rng.integers(1, 4)):
        furniture.ball(build, 0.8, float(half.max()) * 1.2, size[1])

    pitch = rng.normal(-0.1 - 0.15 * (height - 1.2), 0.12)
    camera = camera_path(build, speed(rng, pace, 2.2), pitch, (0.05, 0.7))
    lamps = centre + rng.uniform(-0.8, 0.8, (LAMPS, 3)) * half
    return finish(build, camera, open_air=False, sun=rng.random() < 0.5, lamps=lamps, reach=float(half.max()) * 2)


def _columns_and_beams(build: SceneBuilder, off: float, ahead: float, wide: float, high: float) -> None:
    """What carries a corridor `wide` × `high` metres around x = `off`; ahead: its direction in z, ±1."""
    rng = build.rng
    columns = rng.random() < 0.5
    pitch, radius = rng.uniform(2.0, 5.0), rng.uniform(0.08, 0.3)
    rows = build.object_materials(1.0)
    for n in range(5 if columns else 0):
        x = off + (-1) ** n * (wide / 2 - radius)
        build.add(CYLINDER, (x, -high / 2, ahead * pitch * (n + 1)), (radius, high / 2, radius), materials=rows)
    beams = build.object_materials(2.0)
    gap = rng.uniform(2.5, 6.0)
    for n in range(rng.choice([0, 3, 4])):
        drop = rng.uniform(0.08, 0.2)
        build.add(BOX, (off, -high + drop, ahead * gap * (n + 0.6)), (wide / 2, drop, 0.12), materials=beams)


def _corridor(rng: np.random.Generator, pace: str) -> Scene:
    wide, high, long = rng.uniform(1.7, 5.0), rng.uniform(2.2, 4.5), rng.uniform(20, 42)
    side = wide / 2 - MARGIN - 0.05
    still = 0.1 if pace == "still" else 1.0
    reach = (max(0.04, rng.uniform(0.1, 0.6) * side), rng.uniform(0.04, 0.15), rng.uniform(0.5, 6.0) * still)
    height = rng.uniform(0.8, min(1.9, high - 0.7))
    build = SceneBuilder(rng, reach, height)
    ahead = float(rng.choice([-1.0, 1.0]))
    build.heading = (0.0 if ahead > 0 else np.pi) + rng.normal(0, 0.15)
    off = rng.uniform(-1, 1) * (side - reach[0])
    end = long / 2 - reach[2] - 1.0
    centre = np.array([off, -high / 2, ahead * end * rng.uniform(0.2, 1.0)])
    half = np.array([wide, high, long]) / 2
    shell(build, centre, half, _WALLS, _FLOORS)
    furniture.movers(build, 1.2, 8.0, (0.15, 0.6), 2.0)
    _people(build, 1.2, 10.0)

    def beside(deep: float) -> tuple[float, float]:
        """x next to a wall for something of half depth `deep`, z ahead."""
        z = ahead * np.exp(rng.uniform(np.log(1.0), np.log(28.0)))
        return off + rng.choice([-1.0, 1.0]) * (wide / 2 - deep), float(z)

    _columns_and_beams(build, off, ahead, wide, high)
    doors = build.object_materials(1.5)
    for _ in range(rng.integers(2, 5)):
        x, z = beside(0.0)
        build.add(BOX, (x, -1.0, z), (rng.uniform(0.02, 0.08), 1.02, 0.45), materials=doors)
    for _ in range(rng.integers(3, 6)):
        size = rng.uniform((0.1, 0.15, 0.15), (0.4, 1.0, 1.0))
        x, z = beside(size[0])
        build.add(BOX, (x, -size[1], z), tuple(size), (rng.normal(0, 0.1), 0, 0))
    if rng.random() < 0.6:  # a ramp, or a slope under the ceiling
        z = ahead * rng.uniform(5, 16)
        y = 0.0 if rng.random() < 0.6 else -high
        build.add(BOX, (off, y, z), (half[0], 0.05, 4.0), (0.0, rng.choice([-1, 1]) * rng.uniform(0.1, 0.35), 0.0))
    for _ in range(rng.integers(0, 4)):
        radius = rng.uniform(0.08, 0.35)
        x, z = beside(radius)
        build.add(BALL, (x, -rng.choice([radius, high - 0.4]), z), (radius, radius, radius))
    for _ in range(rng.integers(0, 3)):
        radius = rng.uniform(0.1, 0.3)
        x, z = beside(radius)
        build.add(CYLINDER, (x, -0.45, z), (radius, 0.45, radius))

    camera = camera_path(build, speed(rng, pace, 4.0), rng.normal(-0.06, 0.08), (0.03, 0.45))
    lamps = centre + rng.uniform(-0.7, 0.7, (LAMPS, 3)) * half
    lamps[:, 2] = ahead * rng.uniform((0.0, 4.0), (6.0, 16.0))
    lamps[:, 1] = -high * rng.uniform(0.7, 0.95, LAMPS)
    return finish(build, camera, open_air=False, sun=rng.random() < 0.3, lamps=lamps, reach=12.0)


def _buildings(build: SceneBuilder, near: float) -> None:
    """Some boxes from `near` metres ahead on, some with a roof."""
    rng = build.rng
    for _ in range(rng.integers(2, 6)):
        for _ in range(6):
            x, z = build.ahead(near, 80.0, 0.9)
            half = rng.uniform((2.0, 1.5, 2.0), (9.0, 6.0, 9.0)) * rng.choice([0.6, 1.0, 1.0])
            half[1] *= rng.choice([1.0, 1.0, 2.5])
            front = build.material(
                8.0, "windows", "windows", "bricks", "planks", scale=float(rng.uniform(3, 12)), turn=0.0
            )
            yaw = rng.uniform(0, np.pi) if rng.random() < 0.5 else build.heading
            if build.add(BOX, (x, -half[1], z), tuple(half), (yaw, 0, 0), np.tile(front, (6, 1))):
                if rng.random() < 0.4:  # a roof
                    size, tilt = (half[0] * 1.1, 0.15, half[2] * 0.7), rng.uniform(0.3, 0.7)
                    build.add(BOX, (x, -2 * half[1] - 0.3 * half[2], z), size, (yaw, tilt, 0.0), build.material(3.0))
                break


def _poles_and_trees(build: SceneBuilder, near: float, far: float) -> None:
    """Poles, and trunks with crowns."""
    rng = build.rng
    trees = build.object_materials(1.0), build.material(2.0, "grass", "speckle", "cloudy", scale=1.5)
    for _ in range(rng.integers(2, 6)):
        for _ in range(6):
            x, z = build.ahead(near, far)
            radius, high = np.exp(rng.uniform(np.log(0.05), np.log(0.35))), rng.uniform(1.0, 4.0)
            tree = rng.random() < 0.5
            if build.add(CYLINDER, (x, -high, z), (radius, high, radius), materials=trees[0] if tree else None):
                if tree:
                    crown = rng.uniform(0.6, 2.2) * rng.uniform(0.8, 1.3, 3)
                    build.add(BALL, (x, -2 * high, z), tuple(crown), materials=np.tile(trees[1], (6, 1)))
                break


def _open_ground(rng: np.random.Generator, pace: str) -> Scene:
    still = 0.1 if pace == "still" else 1.0
    height = rng.uniform(0.6, 2.2) if rng.random() < 0.8 else rng.uniform(2.5, 9.0)
    reach = np.exp(rng.uniform(np.log(0.3), np.log((4.0, 0.3, 12.0)))) * still
    reach = np.array([max(0.04, reach[0]), min(0.3, max(0.04, reach[1] * 0.3)), max(0.04, reach[2])])
    build = SceneBuilder(rng, tuple(reach), height)
    ground = ("grass", "speckle", "cloudy", "stones", "tiles", "bricks", "cloudy", "planks", "grass")
    build.half[0], build.centre[0, :3] = (300.0, 200.0, 300.0), (0.0, -200.0, 0.0)
    build.materials[0] = build.material(4.0, *ground, scale=float(np.exp(rng.uniform(np.log(0.8), np.log(8.0)))))

    # How far ahead the box of camera places goes. Near things may also stand beside it.
    front = float(np.abs(reach * [np.sin(build.heading), 0, np.cos(build.heading)]).sum())
    beside = 0.3 * front
    furniture.movers(build, beside + 1.2, front + 15.0, (0.25, 1.2), 8.0)
    _people(build, beside + 1.2, front + 12.0)
    _buildings(build, front + 8.0)
    for _ in range(rng.integers(1, 3)):  # ramps
        for _ in range(6):
            x, z = build.ahead(beside + 1.0, front + 30.0)
            ramp, tilt = rng.uniform((0.8, 0.05, 1.0), (3.0, 0.15, 4.0)), rng.uniform(0.15, 0.6)
            if build.add(BOX, (x, -ramp[2] * np.sin(tilt), z), tuple(ramp), (rng.uniform(0, 6.3), tilt, 0.0)):
                break
    _poles_and_trees(build, beside + 0.6, front + 40.0)
    if rng.random() < 0.4:  # a hill
        x, z = build.ahead(80.0, 200.0)
        build.add(BALL, (x, 0.0, z), tuple(rng.uniform((30, 5, 30), (60, 22, 60))), materials=build.materials[0].copy())
    for _ in range(rng.integers(3, 8)):
        furniture.on_floor(build, beside + 0.6, front + 15.0, size=float(rng.uniform(0.8, 2.0)))
    for _ in range(rng.integers(1, 4)):
        furniture.ball(build, beside + 0.6, front + 10.0, 3.0)

    pitch = rng.normal(-0.04 - 0.05 * height, 0.08)
    camera = camera_path(build, speed(rng, pace, 9.0), pitch, (0.03, 0.6))
    lamps = np.array([[*build.ahead(3.0, 20.0), -3.0] for _ in range(LAMPS)])[:, [0, 2, 1]]
    return finish(build, camera, open_air=True, sun=True, lamps=lamps, reach=6.0)
