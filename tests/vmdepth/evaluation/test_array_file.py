"""Arrays come back from disk as they were."""

import numpy as np
import pytest

from vmdepth.evaluation.array_file import ArrayFile


def test_arrays_come_back_by_place_and_by_slice():
    kept = ArrayFile()
    arrays = [np.full((2, n), n, np.float32) for n in range(1, 6)]
    for array in arrays[:4]:
        kept.append(array)
    part = kept[1:4]
    kept.append(arrays[4])
    assert len(kept) == 5
    assert len(part) == 3
    for got, array in zip((*kept, kept[-1], part[0]), (*arrays, arrays[4], arrays[1]), strict=True):
        np.testing.assert_array_equal(got, array)
        assert got.dtype == array.dtype
    with pytest.raises(IndexError):
        part[3]


def test_a_part_outlives_the_whole():
    kept = ArrayFile()
    kept.append(np.arange(3))
    part = kept[:]
    del kept
    np.testing.assert_array_equal(part[0], [0, 1, 2])
