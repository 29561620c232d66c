"""Rotations on the patch grid, by the formula for single numbers."""

import math

import torch

from vmdepth.networks.multiview.rotary import GridRotation, patch_positions, shared_positions


def test_places():
    assert patch_positions(2, 3).tolist() == [[0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert shared_positions(2, 1).tolist() == [[0, 0], [1, 1], [1, 1]]


def test_every_pair_of_channels_is_turned_by_its_place():
    places = patch_positions(3, 4)
    x = torch.randn(2, len(places), 64, dtype=torch.float64)
    y = GridRotation(places, 64, x)(x)
    for token, place in enumerate(places.tolist()):
        for axis in (0, 1):
            for k in range(16):
                a, b = 32 * axis + k, 32 * axis + k + 16
                angle = place[axis] * 100 ** (-k / 16)
                expected = x[:, token, a] * math.cos(angle) - x[:, token, b] * math.sin(angle)
                torch.testing.assert_close(y[:, token, a], expected)
                expected = x[:, token, b] * math.cos(angle) + x[:, token, a] * math.sin(angle)
                torch.testing.assert_close(y[:, token, b], expected)


def test_products_tell_the_distance_between_places_only():
    query, key = torch.randn(2, 64, dtype=torch.float64).unbind(0)

    def product(a, b):
        turned = GridRotation(torch.tensor([a, b]), 64, query)(torch.stack([query, key]))
        return turned[0] @ turned[1]

    torch.testing.assert_close(product([1, 2], [4, 3]), product([5, 1], [8, 2]))
    assert abs(product([1, 2], [4, 3]) - product([1, 2], [3, 4])) > 1e-3
