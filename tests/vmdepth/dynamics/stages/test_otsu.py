"""One threshold for a clip, against the stored ones of VGGT4D's released code."""

import numpy as np
import pytest

from vmdepth.dynamics.stages.otsu import best_threshold, class_means


@pytest.mark.parametrize("name", ["two", "three", "four"])
def test_thresholds_scores_and_choice_are_the_released_ones(shared_reference, name):
    stored = np.load(shared_reference / "vggt4d" / "io_vggt4d_otsu.npz")
    values = (stored[name] / 1024).astype(np.float32)
    found = best_threshold(values)
    for classes in (2, 3, 4):
        np.testing.assert_array_equal(found.levels[classes], stored[f"{name}_thr{classes}"])
    np.testing.assert_allclose(list(found.scores.values()), stored[f"{name}_scores"], rtol=1e-6)
    assert found.classes == stored[f"{name}_best"]
    assert np.float32(found.value) == stored[f"{name}_threshold"]
    assert (values > found.value).sum() == stored[f"{name}_count_above"]


def test_more_classes_than_there_are_values_are_not_tried():
    values = np.repeat(np.float32([0, 0.25, 1]), [50, 30, 20])
    found = best_threshold(values)
    assert set(found.levels) == {2, 3}
    assert 0.25 < found.value < 1 or found.value == pytest.approx(0.25, abs=1 / 256)


def test_a_flat_map_has_no_threshold_and_nothing_lies_above():
    values = np.full((3, 4), 0.3, np.float32)
    found = best_threshold(values)
    assert (found.value, found.classes) == (np.inf, 0)
    assert not (values > found.value).any()


def test_means_of_classes():
    values = np.float32([[0, 1, 2], [3, 4, 9]])
    np.testing.assert_allclose(class_means(values, np.float32([1, 4])), [0, 2, 6.5])
    assert np.isnan(class_means(values, np.float32([1.2, 1.5]))[1])
