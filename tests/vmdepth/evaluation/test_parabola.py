"""The parabola in y: exact on what is one, and no better than it should be elsewhere."""

import numpy as np
import pytest

from vmdepth.evaluation.parabola import fit_parabola, parabola_accuracy

Y = np.repeat(np.linspace(-1, 1, 20)[:, None], 30, axis=1)


def depth_of(c0, c1, c2):
    return (1 / (c0 + c1 * Y + c2 * Y * Y)).astype(np.float32)


def test_a_parabola_is_found_whatever_is_unknown():
    depth = depth_of(0.5, 0.3, 0.1)
    depth[3, :], depth[5, 4], depth[7, 7] = 0, np.nan, np.inf
    np.testing.assert_allclose(fit_parabola([Y], [depth]), (0.5, 0.3, 0.1), atol=1e-6)
    with pytest.raises(ValueError, match="no pixel of known depth"):
        fit_parabola([Y], [np.zeros_like(Y)])


def test_one_for_all_frames_and_one_for_each():
    first, second = depth_of(0.5, 0.3, 0.1), depth_of(1.5, -0.6, 0.3)
    whole, frames = parabola_accuracy([Y, Y, Y], [first, second, np.zeros_like(first)])
    assert frames[2] is None
    assert frames[0].delta1 == frames[1].delta1 == 1.0
    assert frames[0].absrel == pytest.approx(0, abs=1e-5)
    assert whole.delta1 < 0.5  # their mean is neither


def test_what_does_not_depend_on_y_is_not_explained():
    x = np.linspace(-1, 1, 30)[None].repeat(20, axis=0)
    across = (1 / (1 + 0.9 * x)).astype(np.float32)
    (frame,) = parabola_accuracy([Y], [across])[1]
    flat = np.maximum(across, 1 / across)
    assert frame.delta1 == pytest.approx((flat < 1.25).mean(), abs=0.01)
