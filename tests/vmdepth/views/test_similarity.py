"""Similarities: what they do to points and cameras, and how they are found among wrong pairs."""

import numpy as np
import pytest

from vmdepth.views.geometry import (
    centres,
    inverse,
    nearest_rotation,
    quaternion_of,
    rotation_of,
    world_points,
)
from vmdepth.views.similarity import Similarity, distance_ratio, fit_robustly


def drawn(seed):
    generator = np.random.default_rng(seed)
    rotation = rotation_of(generator.normal(size=4))
    return generator, Similarity(float(np.exp(generator.normal())), rotation, generator.normal(size=3))


def test_quaternions_have_w_first_and_come_back():
    assert quaternion_of(np.eye(3)) == pytest.approx([1, 0, 0, 0])
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])  # about z, from x to y
    assert quaternion_of(quarter) == pytest.approx([0.5**0.5, 0, 0, 0.5**0.5])
    half = np.diag([1.0, -1, -1])
    for rotation in (quarter, half, *rotation_of(np.random.default_rng(0).normal(size=(50, 4)))):
        assert rotation_of(quaternion_of(rotation)) == pytest.approx(rotation, abs=1e-12)
        assert quaternion_of(rotation)[0] >= 0


def test_the_nearest_rotation_is_none_that_mirrors():
    generator = np.random.default_rng(1)
    found = nearest_rotation(generator.normal(size=(20, 3, 3)))
    assert np.linalg.det(found) == pytest.approx(np.ones(20))
    assert found @ np.swapaxes(found, 1, 2) == pytest.approx(np.broadcast_to(np.eye(3), (20, 3, 3)), abs=1e-12)


def test_points_and_cameras_move_together():
    generator, similarity = drawn(2)
    camera = inverse(np.concatenate([rotation_of(generator.normal(size=4)), generator.normal(size=(3, 1))], axis=1))
    matrix = np.array([[50, 0, 21], [0, 60, 14], [0, 0, 1.0]])
    depth = generator.uniform(1, 3, size=(28, 42))
    rows, columns = np.nonzero(depth)
    moved = similarity.points(world_points(depth, matrix, camera, rows, columns))
    again = world_points(similarity.scale * depth, matrix, similarity.cameras(camera), rows, columns)
    assert again == pytest.approx(moved, abs=1e-9)
    assert centres(camera[None])[0] == pytest.approx(inverse(camera)[:, 3])


@pytest.mark.parametrize("seed", range(4))
def test_a_third_of_wrong_pairs_changes_nothing(seed):
    generator, true = drawn(seed)
    source = generator.normal(size=(600, 3)) + np.array([0, 0, 4])
    target = true.points(source)
    target[::3] += generator.normal(size=(200, 3)) + 2  # which do not even cancel out
    distance = np.linalg.norm(target, axis=1)
    fit = fit_robustly(source, target, true.scale, distance, np.ones(600))
    assert fit.similarity.rotation == pytest.approx(true.rotation, abs=1e-6)
    assert fit.similarity.shift == pytest.approx(true.shift, abs=1e-6)
    assert fit.residual < 1e-6


def test_sure_pairs_count_more():
    source = np.random.default_rng(0).normal(size=(300, 3)) + np.array([0, 0, 4])
    target = source.copy()
    target[:150] += [0.01, 0, 0]
    sureness = np.where(np.arange(300) < 150, 1.0, 9.0)
    fit = fit_robustly(source, target, 1.0, np.linalg.norm(source, axis=1), sureness)
    assert abs(fit.similarity.shift[0]) < 0.004


def test_too_few_pairs_fix_nothing():
    points = np.eye(3)
    assert fit_robustly(points, points, 1.0, np.ones(3), np.array([1.0, 1.0, 0.0])) is None


def test_the_ratio_of_distances_bears_a_wrong_point():
    points = np.random.default_rng(0).normal(size=(9, 3))
    others = 2.5 * points @ rotation_of(np.array([1.0, 2, 3, 4])).T + 7
    others[4] += 100
    assert distance_ratio(points, others) == pytest.approx(2.5)
    assert distance_ratio(points, np.zeros((9, 3))) is None
