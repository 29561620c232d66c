"""Windows with true depth and cameras, each put through a similarity of its own, come back into one world."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from vmdepth.views.geometry import centres, nearest_rotation, rotation_of
from vmdepth.views.similarity import Similarity
from vmdepth.views.windows import Chain, View, align, blend, spans
from vmdepth_runtime.errors import WorkError


class Teller:
    """Says of windows what a network would: the truth, in a world and at a scale of its own, not quite right.

    noise: deviation of depth, as a share, once in patches and once for every pixel; outliers: share of pixels that may
    be anything; turn: deviation of a camera's rotation, degrees; shift: of its place, metres.
    """

    def __init__(self, walk, noise=0.0, outliers=0.0, turn=0.0, shift=0.0):
        self.walk, self.noise, self.outliers, self.turn, self.shift = walk, noise, outliers, turn, shift
        self.generator = np.random.default_rng(0)

    def window(self, places):
        draw = self.generator.normal
        scale = 1.0 if places.start == 0 else float(np.exp(draw()))
        world = Similarity(scale, rotation_of(draw(size=4)), 5 * draw(size=3))
        return [self.view(place, world) for place in places]

    def view(self, place, world):
        draw, depth = self.generator.normal, self.walk.depth[place]
        sky = np.isinf(depth)
        patches = cv2.resize(draw(size=(6, 9)), depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
        depth = np.where(sky, 50, depth) * (1 + self.noise * patches) * (1 + self.noise * draw(size=depth.shape))
        wrong = self.generator.random(depth.shape) < self.outliers
        depth = np.where(wrong, depth * np.exp(draw(size=depth.shape)), depth) * world.scale
        confidence = 1 + self.generator.random(depth.shape) * np.where(wrong, 1, 3)
        x, y, z = np.radians(self.turn) * draw(size=3)
        turned = nearest_rotation(np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]]))
        camera = turned @ self.walk.extrinsics[place]
        camera[:, 3] += self.shift * draw(size=3)
        arrays = (array.astype(np.float32) for array in (depth, confidence, sky))
        return View(*arrays, world.cameras(camera), self.walk.intrinsics)


def chained(teller, windows, given=None):
    chain, views = Chain(given), {}
    ends = [window.start for window in windows[1:]] + [windows[-1].stop]
    for window, end in zip(windows, ends, strict=True):
        views |= dict(chain.add(window.start, teller.window(window), end))
        assert list(views) == list(range(end))
    return [views[place] for place in sorted(views)], chain.seams


def errors(views, walk):
    """Of every camera, degrees and metres after the whole chain; and the median ratio of every depth to the truth."""
    found = np.stack([view.extrinsics for view in views])
    # The first camera is the world, and is itself not quite right: what counts is where the others are from the middle.
    cosine = (np.trace(found[:, :, :3] @ np.swapaxes(walk.extrinsics[:, :, :3], 1, 2), axis1=1, axis2=2) - 1) / 2
    shift = np.linalg.norm(centres(found) - centres(walk.extrinsics), axis=1)
    scales = [
        np.median(view.depth[there] / true[there])
        for view, true in zip(views, walk.depth, strict=True)
        if (there := np.isfinite(true)).any()
    ]
    return np.degrees(np.arccos(np.clip(cosine, -1, 1))), shift, np.array(scales)


def test_windows_overlap_and_reach_the_end():
    assert spans(60, 16, 4) == [range(s, s + 16) for s in (0, 12, 24, 36, 44)]
    assert spans(60, 0, 4) == spans(60, 60, 15) == spans(60, 64, 16) == [range(60)]
    assert spans(17, 16, 1) == [range(16), range(1, 17)]
    for views in range(2, 40):
        windows = spans(views, 6, 2)
        assert {place for window in windows for place in window} == set(range(views))
        assert all(a.stop - b.start >= 2 and b.start > a.start for a, b in pairwise(windows))


def test_true_windows_come_back_exactly(walk):
    views, seams = chained(Teller(walk), spans(60, 16, 4))
    turn, shift, scale = errors(views, walk)
    assert turn.max() < 0.001
    assert shift.max() < 1e-4
    assert np.abs(scale - 1).max() < 1e-4
    assert [seam.overlap for seam in seams] == [0, 4, 4, 4, 8]
    assert seams[0].residual is None
    assert all(seam.residual < 1e-5 for seam in seams[1:])


def test_noise_and_outliers_leave_little(walk):
    views, seams = chained(Teller(walk, noise=0.02, outliers=0.2, turn=0.2, shift=0.005), spans(60, 16, 4))
    turn, shift, scale = errors(views, walk)
    print(f"turn {turn.mean():.2f}° mean, {turn.max():.2f}° at most; shift {shift.mean():.3f} m mean, "
          f"{shift.max():.3f} m at most; scale {np.abs(scale - 1).max():.3f} off at most")  # fmt: skip
    assert turn.max() < 1.5  # a camera alone is off by 0.35° on average
    assert shift.max() < 0.08  # of a path of 1.1 m through a room of 3 m
    assert np.abs(scale - 1).max() < 0.03  # least squares would lose two hundredths at each seam
    assert all(0.01 < seam.residual < 0.08 for seam in seams[1:])


def test_given_cameras_are_kept_and_give_the_scale(walk):
    given = Similarity(3.0, rotation_of(np.array([1.0, 2, 3, 4])), np.ones(3)).cameras(walk.extrinsics)
    views, seams = chained(Teller(walk, shift=0.002), spans(60, 16, 4), given)
    assert np.stack([view.extrinsics for view in views]) == pytest.approx(given)
    _, _, scale = errors(views, walk)
    assert np.abs(scale / 3 - 1).max() < 0.05
    assert all(seam.residual is None for seam in seams)


def test_given_cameras_at_one_place_give_no_scale(walk):
    turns = walk.extrinsics.copy()
    turns[:, :, 3] = 0
    chain = Chain(turns)
    views = dict(chain.add(0, Teller(walk).window(range(6)), 6))
    assert not chain.scaled
    assert chain.seams[0].scale == 1
    assert views[5].extrinsics == pytest.approx(turns[5])


def test_windows_without_a_surface_in_common_are_no_windows(walk):
    chain = Chain()
    window = Teller(walk).window(range(6))
    list(chain.add(0, window, 4))
    nothing = [View(np.zeros_like(v.depth), v.confidence, v.sky, v.extrinsics, v.intrinsics) for v in window]
    with pytest.raises(WorkError, match=r"^views 5 to 10 cannot be aligned .*--overlap"):
        list(chain.add(4, nothing, 10))


def test_a_wrong_view_of_four_does_not_move_the_window(walk):
    teller = Teller(walk)
    here, there = teller.window(range(4)), teller.window(range(4))
    off = Similarity(1.0, rotation_of(np.array([1, 0.2, 0, 0])), np.array([0.5, 0, 0]))
    there[2] = View(
        there[2].depth, there[2].confidence, there[2].sky, off.cameras(there[2].extrinsics), walk.intrinsics
    )
    fit = align(here, there)
    moved = fit.similarity.cameras(np.stack([view.extrinsics for view in there]))
    assert moved[[0, 1, 3]] == pytest.approx(np.stack([view.extrinsics for view in here])[[0, 1, 3]], abs=1e-3)


def test_a_blend_goes_from_one_to_the_other(walk):
    one, other = Teller(walk).window(range(2))
    assert blend(one, other, 0.0).extrinsics == pytest.approx(one.extrinsics)
    assert blend(one, other, 1.0).depth == pytest.approx(other.depth)
    half = blend(one, other, 0.5)
    assert centres(half.extrinsics) == pytest.approx((centres(one.extrinsics) + centres(other.extrinsics)) / 2)
    assert half.extrinsics[:, :3] @ half.extrinsics[:, :3].T == pytest.approx(np.eye(3), abs=1e-12)
