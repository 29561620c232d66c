"""What every layout needs besides its furniture: the camera's path, the shell around it, light and air."""

from __future__ import annotations

import numpy as np

from vmdepth.data.rendering.motion import Array, Waves
from vmdepth.data.rendering.scenes import CAMERA_WAVES, CEILING, FLOOR, LAMPS, Scene, SceneBuilder
from vmdepth.data.rendering.textures import choose


def speed(rng: np.random.Generator, pace: str, fastest: float) -> float:
    """Peak speed of the camera, m/s."""
    low, high = {"still": (0.0, 0.05), "hand": (0.1, 0.7), "walk": (0.7, 1.8), "fast": (1.8, fastest)}[pace]
    return float(rng.uniform(low, high))


def camera_path(build: SceneBuilder, speed: float, pitch: float, pan: tuple[float, float]) -> Waves:
    """A path that stays within the builder's box. speed: peak, m/s; pitch: mean, rad; pan: range of amplitude, rad."""
    rng = build.rng
    offset = np.array([0.0, -build.height, 0.0, build.heading, pitch, rng.normal(0, 0.03)])
    amplitude, frequency = np.zeros((6, CAMERA_WAVES)), np.zeros((6, CAMERA_WAVES))
    reach = build.reach - 0.02  # the rest is for the hand's tremor
    amplitude[:3, :2] = reach[:, None] * np.array([0.65, 0.35])
    direction = rng.dirichlet((1.0, 0.15, 1.0)) ** 0.5
    frequency[:3, 0] = speed * direction / np.maximum(reach, 0.02)
    frequency[:3, 1] = frequency[:3, 0] * rng.uniform(0.4, 0.8, 3)

    turn = np.array([rng.uniform(*pan), rng.uniform(0.02, 0.14), rng.uniform(0.005, 0.06)])
    rate = np.array([rng.uniform(0.03, 0.45), rng.uniform(0.02, 0.15), rng.uniform(0.005, 0.06)])
    if speed < 0.06:
        rate = rate * rng.choice([0.1, 1.0])
    amplitude[3:, :2] = turn[:, None] * np.array([0.7, 0.3])
    frequency[3:, 0] = rate / turn
    frequency[3:, 1] = frequency[3:, 0] * rng.uniform(1.2, 2.5, 3)

    tremor = rng.choice([0.1, 0.5, 1.0])
    amplitude[:3, 2:] = tremor * rng.uniform(0.0005, 0.006, (3, 3))
    amplitude[3:, 2:] = tremor * rng.uniform(0.0003, 0.003, (3, 3))
    frequency[:, 2:] = 2 * np.pi * rng.uniform(0.5, 3.0, (6, 3))
    if 0.7 < speed < 2.5:  # steps
        amplitude[1, 2], frequency[1, 2] = rng.uniform(0.002, 0.015), 2 * np.pi * rng.uniform(1.6, 2.2)
    return Waves(offset, amplitude, frequency, rng.uniform(0, 2 * np.pi, (6, CAMERA_WAVES)))


def finish(build: SceneBuilder, camera: Waves, *, open_air: bool, sun: bool, lamps: Array, reach: float) -> Scene:
    """The scene of a filled builder. sun: strong light from one side, or else a softer one from above; lamps: places
    [LAMPS, 3] of lamps, which shine some `reach` metres far."""
    rng = build.rng
    warmth = rng.normal(0, 0.12)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    sky_light = np.array([1 - warmth, 1.0, 1 + warmth]) if open_air else tint
    ambient = np.exp(rng.uniform(np.log(0.06), np.log(0.5)))
    above = ambient * sky_light * rng.uniform(0.85, 1.15, 3)
    below = ambient * rng.uniform(0.45, 0.9) * rng.uniform(0.9, 1.1, 3)
    azimuth, height = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(20, 70) if sun else rng.uniform(40, 85))
    level = np.cos(height)
    key = np.array([level * np.sin(azimuth), -np.sin(height), level * np.cos(azimuth)])
    strength = rng.uniform(0.6, 2.0) if sun else rng.uniform(0.2, 1.2)
    cloudy = rng.random()
    zenith = np.array([0.12, 0.28, 0.75]) * rng.uniform(0.6, 1.3) * (1 - cloudy) + cloudy * rng.uniform(0.3, 0.8)
    horizon = np.array([0.75, 0.85, 1.0]) * rng.uniform(0.6, 1.1) * rng.uniform(0.85, 1.1, 3)
    cloud = np.ones(3) * rng.uniform(0.4, 1.15)
    return Scene(
        half=build.half,
        rest=build.rest,
        path=build.paths(),
        moving=build.moving,
        materials=build.materials,
        camera=camera,
        field_of_view=np.array(np.deg2rad(rng.uniform(45, 85))),
        open_air=np.array(open_air),
        ambient=np.stack([below, above]),
        used=build.used(),
        key_way=key,
        key_colour=strength * tint,
        shadow=np.array(rng.uniform(0.6, 1.0)),
        lamp_places=lamps,
        lamp_colours=rng.uniform(0.0, 0.5 if sun else 1.0, (LAMPS, 1)) * rng.uniform(0.6, 1.2, (LAMPS, 3)),
        lamp_reach=reach * rng.uniform(0.3, 0.8, LAMPS),
        sky=np.stack([horizon, zenith, cloud]),
        clouds=np.array([choose(rng, "cloudy", "marble"), rng.uniform(0.8, 4.0), rng.uniform(0, 1), rng.random()]),
        haze=np.array(rng.choice([0.0, 1.0]) / np.exp(rng.uniform(np.log(60), np.log(400))) if open_air else 0.0),
        exposure=np.exp(rng.normal(0.6, 0.3)) * (1 + rng.normal(0, 0.05, 3)),
        gamma=np.array(rng.uniform(0.42, 0.62)),
        blur=np.array(rng.uniform(0.05, 0.16)),
    )


def shell(build: SceneBuilder, centre: Array, half: Array, walls: tuple[str, ...], floor: tuple[str, ...]) -> None:
    """The box around a scene and its surfaces. centre, half: [3], metres; walls, floor: patterns to choose from."""
    build.half[0], build.centre[0, :3] = half, centre
    width = float(min(half[0], half[2])) * 2
    wall = build.material(width, *walls, scale=float(build.rng.uniform(0.5, 3.0)), turn=0.0)
    build.materials[0] = wall
    if build.rng.random() < 0.4:  # one wall of its own
        face = int(build.rng.choice([0, 1, 4, 5]))
        build.materials[0, face] = build.material(width, scale=float(build.rng.uniform(0.5, 3.0)), turn=0.0)
    build.materials[0, FLOOR] = build.material(width, *floor, scale=float(build.rng.uniform(0.4, 2.5)))
    build.materials[0, CEILING] = build.material(width, "plain", "plain", "tiles", "planks", "cloudy", scale=2.0)
