from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime import InputError
from vmdepth_runtime.depth.colour_map import FixedRange, RunningRange, SceneRange, colourise, palette
from vmdepth_runtime.palettes import PALETTES

RAMP = np.linspace(2, 6, 256, dtype=np.float32)[None].repeat(4, axis=0)


def brightness(colour):
    return colour.astype(float) @ [0.299, 0.587, 0.114]


def test_near_is_bright_and_the_scale_rises_evenly():
    light = brightness(colourise(RAMP, 2, 6))[0]
    assert light[0] < 5
    assert light[-1] > 200
    assert (np.diff(light[::8]) > 0).all()


def test_depth_that_grows_with_distance_is_painted_as_its_inverse():
    painted = colourise(RAMP, 6, 2).astype(int)
    assert np.abs(painted - colourise(1 / RAMP, 1 / 6, 1 / 2)).max() <= 4  # a level, where rounding falls the other way
    light = brightness(painted)[0]
    assert light[0] > 200
    assert light[-1] < 5
    beyond = np.array([[-1, 0, 1e-9, 2, 6, 7, np.inf]], np.float32)
    np.testing.assert_array_equal(brightness(colourise(beyond, 6, 2))[0], [*[light[0]] * 4, *[light[-1]] * 3])


@pytest.mark.parametrize(("far", "near"), [(0, -1), (50, 0), (6, 2)])
def test_depth_without_a_sensible_nearest_is_painted_all_the_same(far, near):
    depth = np.float32([[np.nan, 0, 3, 60]])
    painted = colourise(depth, far, near, palette="gray")[0, :, 0]
    assert painted[0] == 128
    assert (np.diff(painted[1:].astype(int)) <= 0).all()


def test_near_is_warm():
    red, _, blue = colourise(RAMP, 2, 6)[0, 200].astype(int)
    assert red > blue + 100


def test_beyond_the_range_is_clamped():
    depth = np.array([[-1e9, 2, 6, 1e9]], np.float32)
    painted = colourise(depth, 2, 6)[0]
    np.testing.assert_array_equal(painted[0], painted[1])
    np.testing.assert_array_equal(painted[2], painted[3])


@pytest.mark.parametrize(("low", "high"), [(3, 3), (0, 0), (1e6, 1e6 + 0.01), (float("nan"), 1), (0, float("inf"))])
def test_a_flat_range_gives_one_colour(low, high):
    depth = np.full((4, 4), low, np.float32)
    assert len(np.unique(colourise(depth, low, high).reshape(-1, 3), axis=0)) == 1


def test_it_paints_into_a_strided_half_of_a_picture():
    canvas = np.zeros((4, 512, 3), np.uint8)
    colourise(RAMP, 2, 6, out=canvas[:, 256:])
    np.testing.assert_array_equal(canvas[:, 256:], colourise(RAMP, 2, 6))
    assert not canvas[:, :256].any()


def test_a_fixed_range_pools_its_maps_and_ignores_hot_pixels():
    maps = [RAMP.copy(), RAMP + 10]
    maps[0][0, 0] = 1e6
    low, high = FixedRange.of(maps).update(RAMP, 0)
    assert 2 <= low < 2.5
    assert 15.5 < high <= 16
    assert FixedRange.of(maps, larger_is_nearer=False).update(RAMP, 0) == (high, low)


def test_a_fixed_range_is_the_same_for_every_frame():
    colours = FixedRange.of([RAMP])
    assert colours.update(RAMP, 0) == colours.update(RAMP * 100, 1)


@pytest.mark.parametrize("inverse", [True, False])
def test_the_range_of_a_film_is_fixed_up_to_a_cut_and_anew_for_each_scene(inverse):
    colours, dim = SceneRange.of([10 * RAMP], larger_is_nearer=inverse), RAMP + 1
    first, own = colours.update(RAMP, 0), FixedRange.of([dim], larger_is_nearer=inverse).update(dim, 0)
    assert first == FixedRange.of([10 * RAMP], larger_is_nearer=inverse).update(RAMP, 0)
    colours.restart()
    assert colours.update(dim, 1) == own
    assert colours.update(RAMP, 1.04) == pytest.approx(own, rel=0.05)  # steady from there on
    colours.restart()
    assert colours.update(dim, 1.08) == own


def test_the_range_of_a_film_stays_where_its_first_frame_continues_none():
    colours = SceneRange.of([10 * RAMP])
    colours.restart()
    assert colours.update(RAMP, 0) == FixedRange.of([10 * RAMP]).update(RAMP, 0)


def test_maps_without_a_finite_pixel_do_not_break_a_range():
    assert FixedRange.of([np.full((4, 4), np.nan, np.float32)]).update(RAMP, 0) == (0, 0)


def test_a_running_range_follows_slowly_and_by_time_not_by_frames():
    def after(seconds, fps):
        colours = RunningRange(seconds=4)
        colours.update(RAMP, 0)
        for k in range(1, round(seconds * fps) + 1):
            bounds = colours.update(RAMP + 10, k / fps)
        return bounds

    start = RunningRange().update(RAMP, 0)
    one_frame = after(1 / 30, 30)
    assert 0 < one_frame[1] - start[1] < 0.1  # of a jump of 10
    np.testing.assert_allclose(after(4, 30), after(4, 10), rtol=1e-6)
    np.testing.assert_allclose(after(4, 30)[1] - start[1], 10 * (1 - np.exp(-1)), rtol=1e-3)
    np.testing.assert_allclose(after(60, 5)[1] - start[1], 10, rtol=1e-3)


def test_a_running_range_survives_a_clock_set_back():
    colours = RunningRange()
    first = colours.update(RAMP, 100)
    assert colours.update(RAMP + 10, 0) == first


def test_a_running_range_turns_metric_depth_round():
    assert RunningRange(larger_is_nearer=False).update(RAMP, 0) == RunningRange().update(RAMP, 0)[::-1]


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_are_those_that_plots_have(name):
    matplotlib = pytest.importorskip("matplotlib")
    table = palette(name)
    assert (table.shape, table.dtype) == ((256, 3), np.uint8)
    reference = matplotlib.colormaps["Spectral_r" if name == "spectral" else name](np.arange(256), bytes=True)
    np.testing.assert_allclose(table.astype(int), reference[:, :3], atol=1)
    painted = colourise(RAMP, 2, 6, palette=name)
    np.testing.assert_array_equal(painted[0], table)
    table[:] = 0  # a copy
    np.testing.assert_array_equal(colourise(RAMP, 2, 6, palette=name), painted)


def test_a_palette_that_is_none_is_named_with_those_there_are():
    with pytest.raises(InputError, match="there is no palette 'rainbow'; there are inferno, turbo"):
        palette("rainbow")


@pytest.mark.parametrize("name", PALETTES)
def test_a_pixel_without_depth_is_neutral_gray(name):
    depth = RAMP.copy()
    depth[1, 7] = np.nan
    painted = colourise(depth, 2, 6, palette=name)
    np.testing.assert_array_equal(painted[1, 7], [128, 128, 128])
    depth[1, 7] = 3
    painted[1, 7] = colourise(depth, 2, 6, palette=name)[1, 7]
    np.testing.assert_array_equal(painted, colourise(depth, 2, 6, palette=name))
