"""Streets as a car or a walker sees them, and the people and cars on them; people also stand and walk in rooms."""

from __future__ import annotations

import numpy as np

from vmdepth.data.rendering import furniture
from vmdepth.data.rendering.motion import Array
from vmdepth.data.rendering.scenes import BALL, BOX, CYLINDER, LAMPS, OBJECT_WAVES, Part, Scene, SceneBuilder
from vmdepth.data.rendering.staging import camera_path, finish, speed

_FACADES = ("windows", "windows", "bricks", "planks", "plain", "tiles")


def street(rng: np.random.Generator, pace: str) -> Scene:
    """A road with pavements between houses; cars, trees, poles and people beside it, some of them moving."""
    driving = rng.random() < 0.6
    still = 0.1 if pace == "still" else 1.0
    reach = np.array([rng.uniform(0.1, 0.6), rng.uniform(0.04, 0.1), rng.uniform(0.5, 9.0) * still])
    build = SceneBuilder(rng, tuple(np.maximum(reach, 0.04)), rng.uniform(1.1, 2.0))
    ahead = float(rng.choice([-1.0, 1.0]))
    turned = rng.uniform(-1.2, 1.2) if rng.random() < 0.35 else rng.normal(0, 0.1)  # a camera that looks aside
    build.heading = (0.0 if ahead > 0 else np.pi) + turned
    wide = rng.uniform(3.0, 6.5)  # half a road
    off = rng.uniform(0.2, 0.6) * wide * rng.choice([-1, 1]) if driving else (wide + 1.2) * rng.choice([-1, 1])
    build.half[0], build.centre[0, :3] = (300.0, 200.0, 300.0), (0.0, -200.0, 0.0)
    build.materials[0] = build.material(4.0, "speckle", "cloudy", "plain", "tiles", scale=rng.uniform(1.0, 6.0))
    paving = build.material(2.0, "tiles", "stones", "bricks", "speckle", "plain", scale=rng.uniform(0.8, 3.0))
    kerb, pavement = rng.uniform(0.05, 0.15), rng.uniform(1.5, 4.0)

    def along(near: float, far: float) -> float:
        return ahead * float(np.exp(rng.uniform(np.log(near), np.log(far))))

    for side in (-1, 1):
        edge = off + side * wide
        if abs(edge + side * pavement) > reach[0] + 1.0 or driving:
            build.add(
                BOX, (edge + side * pavement, -kerb / 2, ahead * 60.0), (pavement, kerb / 2, 80.0), materials=paving
            )
        if rng.random() < 0.85:
            _houses(build, edge + side * 2 * pavement, side, ahead)
        for _ in range(rng.integers(0, 4)):
            car(
                build,
                edge - side * rng.uniform(1.0, 1.3),
                along(4.0, 45.0),
                rng.choice([0, np.pi]) + rng.normal(0, 0.03),
            )
        for _ in range(rng.integers(0, 3)):
            _pole_or_tree(build, edge + side * rng.uniform(0.4, 1.2), along(3.0, 40.0))
    for _ in range(rng.integers(0, 3)):
        lane = off + rng.uniform(-0.6, 0.6) * wide
        car(build, lane, along(6.0, 50.0), rng.choice([0, np.pi]), moves=rng.random() < 0.6)
    for _ in range(rng.integers(0, 4)):
        person(build, off + rng.uniform(-1, 1) * (wide + pavement), along(2.5, 22.0), moves=rng.random() < 0.6)
    for _ in range(rng.integers(0, 4)):
        furniture.on_floor(build, 2.0, 20.0, size=0.7)

    pitch = rng.normal(-0.05, 0.06)
    camera = camera_path(build, speed(rng, pace, 12.0), pitch, (0.02, 0.35))
    lamps = np.array([[*build.ahead(3.0, 20.0), -4.0] for _ in range(LAMPS)])[:, [0, 2, 1]]
    return finish(build, camera, open_air=True, sun=rng.random() < 0.6, lamps=lamps, reach=8.0)


def person(build: SceneBuilder, x: float, z: float, moves: bool) -> bool:
    """Somebody who stands, or walks to and fro, 1.5 to 1.9 m tall."""
    rng = build.rng
    tall = rng.uniform(1.5, 1.9)
    broad = rng.uniform(0.17, 0.24)
    hip, shoulder = 0.5 * tall, 0.82 * tall
    legs, coat, skin = (
        build.object_materials(0.5)[0],
        build.object_materials(0.6)[0],
        build.material(0.3, "plain", "cloudy"),
    )
    stride = rng.uniform(0.0, 0.3)
    parts: list[Part] = [
        (BALL, (0, 0.93 * tall, 0), (0.085, 0.115, 0.1), (0.0, 0.0), skin),
        (BOX, (0, (hip + shoulder) / 2, 0), (broad, (shoulder - hip) / 2 + 0.06, 0.12), (0.0, 0.0), coat),
    ]
    if rng.random() < 0.25:  # a coat or a skirt
        parts.append((CYLINDER, (0, 0.4 * tall, 0), (broad, 0.25 * tall, 0.8 * broad), (0.0, 0.0), coat))
    parts += [
        (CYLINDER, (side * 0.55 * broad, hip / 2, 0), (0.075, hip / 2, 0.085), (side * stride, 0.0), legs)
        for side in (-1, 1)
    ]
    parts += [
        (BOX, (side * (broad + 0.05), 0.66 * tall, 0), (0.045, 0.18 * tall, 0.05), (-side * stride, 0.0), coat)
        for side in (-1, 1)
    ]
    yaw = rng.uniform(0, 2 * np.pi)
    return build.add_group(x, z, yaw, parts, _to_and_fro(rng, yaw, rng.uniform(0.3, 1.4), 0.5) if moves else None)


def car(build: SceneBuilder, x: float, z: float, yaw: float, moves: bool = False) -> bool:
    """A car that stands, or drives along z; its length is along z of its own frame."""
    rng = build.rng
    long, broad, high = rng.uniform(1.8, 2.4), rng.uniform(0.8, 0.95), rng.uniform(0.6, 1.0)  # half, half, of the cabin
    paint = build.material(4.0, "plain", "plain", "cloudy")
    glass = build.material(2.0, "plain", "windows", scale=1.5)
    wheels = build.material(0.7, "plain")
    wheels[7:16] *= 0.15
    waist = rng.uniform(0.35, 0.5)
    back = rng.uniform(-0.3, 0.1) * long
    parts: list[Part] = [
        (BOX, (0, 0.25 + waist / 2, 0), (broad, waist / 2, long), (0.0, 0.0), paint),
        (BOX, (0, 0.25 + waist + high / 3, back), (0.9 * broad, high / 3, 0.55 * long), (0.0, 0.0), glass),
        (BOX, (0, 0.25 + waist + 0.66 * high, back), (0.85 * broad, 0.03, 0.45 * long), (0.0, 0.0), paint),
    ]
    parts += [(CYLINDER, (0, 0.3, end * 0.62 * long), (0.3, broad, 0.3), (0.0, np.pi / 2), wheels) for end in (-1, 1)]
    return build.add_group(x, z, yaw, parts, _to_and_fro(rng, 0.0, rng.uniform(2.0, 8.0), 4.0) if moves else None)


def _to_and_fro(rng: np.random.Generator, yaw: float, speed: float, far: float) -> Array:
    """Waves [3, 4, OBJECT_WAVES] along a direction: speed at its peak, m/s; far: about how many metres either way."""
    waves = np.zeros((3, 4, OBJECT_WAVES))
    reach = far * rng.uniform(0.5, 1.5)
    waves[0, 0, 0], waves[0, 2, 0] = reach * np.sin(yaw), reach * np.cos(yaw)
    waves[1, [0, 2], 0] = speed / reach
    waves[2, [0, 2], 0] = rng.uniform(0, 2 * np.pi)
    return waves


def _houses(build: SceneBuilder, edge: float, side: float, ahead: float) -> None:
    """A row of them along a side of the street, with a gap here and there."""
    rng = build.rng
    place = rng.uniform(-6.0, 2.0)
    for _ in range(rng.integers(2, 6)):
        deep, high, long = rng.uniform(3.0, 8.0), rng.uniform(2.0, 9.0), rng.uniform(2.5, 9.0)
        back = rng.choice([0.0, 0.0, rng.uniform(0.0, 5.0)])
        faces = np.tile(build.material(8.0, *_FACADES, scale=float(rng.uniform(3, 10)), turn=0.0), (6, 1))
        x, z = edge + side * (deep + back), ahead * (place + long)
        if build.add(BOX, (x, -high, z), (deep, high, long), materials=faces) and rng.random() < 0.3:
            build.add(
                BOX, (x, -2 * high - 0.4, z), (deep * 1.05, 0.15, long), (0.0, 0.0, -side * 0.4), build.material(3.0)
            )
        place += 2 * long + rng.choice([0.0, 0.0, rng.uniform(1.0, 8.0)])


def _pole_or_tree(build: SceneBuilder, x: float, z: float) -> None:
    rng = build.rng
    radius, high = rng.uniform(0.05, 0.2), rng.uniform(1.2, 3.0)
    if build.add(CYLINDER, (x, -high, z), (radius, high, radius)) and rng.random() < 0.6:
        crown = rng.uniform(0.8, 2.0) * rng.uniform(0.8, 1.3, 3)
        leaves = np.tile(build.material(2.0, "grass", "speckle", "cloudy", scale=1.5), (6, 1))
        build.add(BALL, (x, -2 * high, z), tuple(crown), materials=leaves)
