"""Scale and shift that follow measured depth, dense or sparse, at its own times."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime.depth.scale.running import RunningMetres
from vmdepth_runtime.depth_kinds import DEPTH_KINDS

SCALE, SHIFT = 0.6, 0.1
SECOND = 1_000_000_000
RELATIVE = DEPTH_KINDS["relative"]


def a_room(seed=0, shape=(28, 42)):
    """Metres of what a camera sees: smooth, 1 to 5."""
    random = np.random.default_rng(seed)
    x, y = np.linspace(0, 1, shape[1]), np.linspace(0, 1, shape[0])[:, None]
    a, b, c = random.uniform(0, 6, 3)
    return (3 + np.sin(4 * x + a) + np.cos(3 * y + b) * np.sin(2 * x + c)).astype(np.float32)


def relative(metres, scale=SCALE, shift=SHIFT):
    return ((1 / metres - shift) / scale).astype(np.float32)


def sparse(metres, points, wrong=0.0, seed=0):
    """So many of the pixels, NaN the others; a share of them wrong."""
    random = np.random.default_rng(seed)
    seen = np.full(metres.size, np.nan, np.float32)
    at = random.permutation(metres.size)[:points]
    seen[at] = np.where(random.random(points) < wrong, random.uniform(0.3, 9, points), metres.ravel()[at])
    return seen.reshape(metres.shape)


@pytest.mark.parametrize(("points", "wrong"), [(28 * 42, 0.0), (28 * 42, 0.3), (200, 0.05)])
def test_metres_are_those_of_what_was_measured(points, wrong):
    rooms = [a_room(number) for number in range(12)]
    measured = iter([(number * SECOND, sparse(room, points, wrong, number)) for number, room in enumerate(rooms)])
    running = RunningMetres(measured, RELATIVE, "lidar")
    for number, room in enumerate(rooms):
        metres = running.at(relative(room), number * SECOND)
        assert metres.scale == pytest.approx(SCALE, rel=0.01)
        assert metres.shift == pytest.approx(SHIFT, abs=0.01 / 3)
    assert running.as_dict()["fits"] == 12
    assert running.as_dict()["median_error"] < 0.01


def test_a_measurement_belongs_to_the_frame_next_to_it_in_time():
    """Frames at 30 a second, measurements at 10 and between them: of each only one frame makes a fit, and the right
    one."""
    room = a_room()
    measured = [(number * SECOND // 10 + 8_000_000, sparse(room, 300)) for number in range(4)]
    running = RunningMetres(iter(measured), RELATIVE, "lidar")
    fitted_at, before = [], 0
    for frame in range(10):
        running.at(relative(room), frame * SECOND // 30)
        if running.fits > before:
            fitted_at, before = [*fitted_at, frame], running.fits
    assert fitted_at == [0, 3, 6, 9]


def test_between_measurements_the_latest_fit_stays_and_before_the_first_there_is_none():
    room = a_room()
    running = RunningMetres(iter([(SECOND, sparse(room, 300))]), RELATIVE, "lidar")
    assert running.at(relative(room), 0) is None
    assert running.at(relative(room), None) is None
    assert running.without == 2
    fit = running.at(relative(room), SECOND)
    assert running.at(relative(room), 2 * SECOND) == fit
    running.restart()
    assert running.at(relative(room), 3 * SECOND) == fit
    assert (running.fits, running.without) == (1, 2)


def test_sparse_measurements_are_enough_together():
    room = a_room()
    measured = [(number * SECOND, sparse(room, 30, seed=number)) for number in range(5)]
    running = RunningMetres(iter(measured), RELATIVE, "lidar")
    found = [running.at(relative(room), number * SECOND) for number in range(5)]
    assert found[:3] == [None] * 3
    assert running.refused == "90 points of measured depth, and a fit takes 100"
    assert found[3].scale == pytest.approx(SCALE, rel=0.01)


def test_scale_and_shift_follow_a_network_that_drifts():
    """And after a while know nothing of how it was."""
    rooms = [a_room(number) for number in range(40)]
    scales = [SCALE] * 20 + [2 * SCALE] * 20
    running = RunningMetres(iter([(n * SECOND, sparse(room, 300)) for n, room in enumerate(rooms)]), RELATIVE, "lidar")
    found = [running.at(relative(room, scales[n]), n * SECOND).scale for n, room in enumerate(rooms)]
    assert found[19] == pytest.approx(SCALE, rel=0.01)
    assert found[-1] == pytest.approx(2 * SCALE, rel=0.01)


def test_a_wall_or_a_blind_sensor_changes_nothing():
    """At a wall scale and shift cannot be told apart."""
    room, random = a_room(), np.random.default_rng(0)
    wall = np.full_like(room, 2.0)
    blind = np.full_like(room, np.nan)
    noisy = relative(wall) + random.normal(0, 0.01, wall.shape).astype(np.float32)
    measured = [room, *[blind] * 12, *[wall * random.normal(1, 0.01, wall.shape).astype(np.float32)] * 12]
    running = RunningMetres(iter([(n * SECOND, seen) for n, seen in enumerate(measured)]), RELATIVE, "lidar")
    fit = running.at(relative(room), 0)
    running.restart()
    for number in range(1, len(measured)):
        assert running.at(noisy, number * SECOND) == fit


def test_a_restart_forgets_the_points_of_before():
    rooms = [a_room(number) for number in range(6)]
    running = RunningMetres(iter([(n * SECOND, sparse(room, 300)) for n, room in enumerate(rooms)]), RELATIVE, "lidar")
    for number in range(5):
        running.at(relative(rooms[number]), number * SECOND)
    running.restart()
    assert running.at(relative(rooms[5], 2 * SCALE), 5 * SECOND).scale == pytest.approx(2 * SCALE, rel=0.01)


def test_measured_depth_of_another_resolution_shows_the_same():
    room = a_room(shape=(280, 420))
    small = relative(room).reshape(28, 10, 42, 10).mean(axis=(1, 3))
    metres = RunningMetres(iter([(0, room)]), RELATIVE, "lidar").at(small, 0)
    assert metres.scale == pytest.approx(SCALE, rel=0.01)
    assert metres.shift == pytest.approx(SHIFT, abs=0.01 / 3)
