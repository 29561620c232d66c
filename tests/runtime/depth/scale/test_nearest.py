"""Which measurement a frame gets, of streams at rates of their own."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime.depth.scale.nearest import APART, Nearest

SECOND = 1_000_000_000


def given(frames, measured):
    """Which measurement each frame gets, by its number."""
    nearest = Nearest((stamp, np.float32([[number]])) for number, stamp in enumerate(measured))
    return [None if (depth := nearest.at(stamp)) is None else int(depth.item()) for stamp in frames]


def times(count, rate, start=0):
    return [start + number * SECOND // rate for number in range(count)]


@pytest.mark.parametrize("rate", [10, 30, 60, 120])
def test_at_the_rate_of_the_frames_each_gets_its_own(rate):
    assert given(times(20, rate), times(20, rate)) == list(range(20))


@pytest.mark.parametrize("rate", [10, 60])
def test_at_three_times_the_rate_each_frame_gets_the_exact_one(rate):
    assert given(times(20, rate), times(60, 3 * rate)) == list(range(0, 60, 3))


def test_at_a_third_of_the_rate_one_frame_of_three_gets_one():
    found = given(times(30, 60), times(10, 20, start=2_000_000))
    assert found == [number // 3 if number % 3 == 0 else None for number in range(30)]


def test_what_is_too_far_belongs_to_no_frame():
    assert given([0, 10 * SECOND], [-APART - 1, APART + 1, 10 * SECOND - APART - 1]) == [None, None]
    assert given([0, 10 * SECOND], [-APART, 10 * SECOND + APART]) == [0, 1]


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("after", [-5, -1, 0, 1, 20])
def test_where_stamps_go_back_measurements_begin_anew_as_well(before, after):
    """Three rounds; in each something is measured before the first frame or not, and until long after the last, or no
    longer some time before it."""
    frames, once = times(40, 10), [n * SECOND // 10 for n in range(-before, 40 + after)]
    found = given(frames * 3, once * 3)
    expected = [n + before if n < 40 + after else None for n in range(40)]
    for turn in range(3):
        own = [None if number is None else number + turn * len(once) for number in expected]
        assert found[turn * 40 : turn * 40 + 40] == own


def test_a_stamp_that_is_a_little_early_costs_nothing_but_itself():
    frames, measured = times(40, 10), times(40, 10)
    frames[20] -= SECOND // 5
    assert given(frames, measured)[22:] == list(range(22, 40))
    measured[30] -= SECOND // 50 * 7
    assert given(times(40, 10), measured)[32:] == list(range(32, 40))


def test_a_clock_of_the_sensor_that_goes_back_alone_costs_what_it_takes_to_catch_up():
    measured = [*times(50, 10), *times(100, 10)]
    assert given(times(100, 10), measured)[75:] == list(range(125, 150))
