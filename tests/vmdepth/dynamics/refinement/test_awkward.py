"""Clips that are not as the released code wants them: few points or none, sky, holes, a camera that stands still."""

import numpy as np
import pytest

from vmdepth.dynamics.refinement import scene as scenes
from vmdepth.dynamics.refinement.options import UNSEEN, RefineOptions
from vmdepth.dynamics.refinement.refine import OUTLIER, STATIC, refine
from vmdepth_runtime.errors import InputError

FRAMES, HEIGHT, WIDTH = 6, 30, 40
HOWS = ["residual", "gradient"]


@pytest.fixture
def still_camera():
    """A slanted wall that a box passes before, seen by a camera that stands still: a clip, and where the box is."""
    rng = np.random.default_rng(0)
    wall = np.tile(np.linspace(1.8, 2.2, WIDTH, dtype=np.float32), (FRAMES, HEIGHT, 1))
    box = np.zeros(wall.shape, bool)
    for frame in range(FRAMES):
        box[frame, 8:20, 2 + 5 * frame : 10 + 5 * frame] = True
    paper = rng.integers(80, 120, (HEIGHT, WIDTH, 3), np.uint8)
    camera = np.eye(4)
    camera[:3, :3] = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    camera[:3, 3] = 3.1, -0.7, 5.3
    clip = {
        "images": np.where(box[..., None], np.uint8(220), paper),
        "depth": np.where(box, np.float32(1.2), wall),
        "cam2world": np.tile(camera, (FRAMES, 1, 1)),
        "intrinsics": np.tile(np.array([[35.0, 0, 20], [0, 35, 15], [0, 0, 1]]), (FRAMES, 1, 1)),
    }
    return clip, box


@pytest.mark.parametrize("how", HOWS)
def test_a_still_camera_sees_the_same_pixels(still_camera, how):
    """Where a patch of the wall is in the mask by mistake it goes, and the box stays to the pixel."""
    clip, box = still_camera
    mask = box.copy()
    for frame in range(FRAMES):
        mask[frame, 22:28, 30 - 5 * frame : 38 - 5 * frame] = True
    refined = refine(**clip, moves=mask, how=how, options=RefineOptions(close=0, grow=0, neighbours=0))
    np.testing.assert_array_equal(refined.masks, box)


@pytest.mark.parametrize("how", HOWS)
def test_a_still_camera_needs_no_true_depth_and_no_true_lens(still_camera, how):
    """Depth may be one over inverse depth of a network that knows neither its scale nor where 0 is."""
    clip, box = still_camera
    mask = box.copy()
    for frame in range(FRAMES):
        mask[frame, 22:28, 30 - 5 * frame : 38 - 5 * frame] = True
    guessed = {
        "depth": 1 / (40 / clip["depth"] + 9),
        "cam2world": np.tile(np.eye(4), (FRAMES, 1, 1)),
        "intrinsics": np.tile(np.array([[90.0, 0, 20], [0, 90, 15], [0, 0, 1]]), (FRAMES, 1, 1)),
    }
    refined = refine(**(clip | guessed), moves=mask, how=how, options=RefineOptions(close=0, grow=0, neighbours=0))
    np.testing.assert_array_equal(refined.masks, box)


def test_nothing_remains_nothing(still_camera):
    clip, box = still_camera
    refined = refine(**clip, moves=np.zeros_like(box))
    assert not refined.masks.any()
    assert np.isnan(refined.losses).all()
    assert set(np.unique(refined.labels)) <= {STATIC, OUTLIER}


@pytest.mark.parametrize("how", HOWS)
def test_what_is_in_the_mask_everywhere_stays(still_camera, how):
    """No view shows a place without its mask."""
    clip, box = still_camera
    options = RefineOptions(neighbours=0, centred=True)
    refined = refine(**clip, moves=np.ones_like(box), how=how, options=options)
    assert (refined.losses[..., 2] == UNSEEN).all()
    assert refined.masks.all()


def test_beyond_the_rim_nothing_moves_as_released(still_camera):
    """Half a pixel beside the last row and column there is no mask, so what is there is seen."""
    clip, box = still_camera
    refined = refine(**clip, moves=np.ones_like(box), options=RefineOptions(neighbours=0))
    for labels, losses in zip(refined.labels, refined.losses, strict=True):
        at_rim = np.unique(np.concatenate([labels[-1], labels[:, -1]]))
        assert (losses[np.setdiff1d(labels, at_rim), 2] == UNSEEN).all()
        assert (losses[at_rim, 2] < UNSEEN).any()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("count", [1, 7])
def test_fewer_points_than_clusters(still_camera, how, count):
    clip, box = still_camera
    mask = np.zeros_like(box)
    mask[:, 10, 35 : 35 - count : -1] = True
    refined = refine(**clip, moves=mask, how=how, options=RefineOptions(neighbours=0))
    assert (refined.labels >= 0).sum() == count * FRAMES
    assert refined.labels.max() < count
    assert refined.losses.shape == (FRAMES, 30, 3)


def test_pixels_without_depth_leave_the_mask_and_are_seen_by_nobody(still_camera):
    clip, box = still_camera
    depth = clip["depth"].copy()
    holes = np.zeros_like(box)
    holes[:, 12:16, ::3] = True
    depth[holes] = np.nan
    depth[:, 14:16][holes[:, 14:16]] = 0
    options = RefineOptions(close=0, grow=0, neighbours=0)
    for how in HOWS:
        refined = refine(**(clip | {"depth": depth}), moves=box, how=how, options=options)
        assert (refined.labels[holes] == OUTLIER).all()
        np.testing.assert_array_equal(refined.masks, box & ~holes)


@pytest.mark.parametrize("how", HOWS)
def test_sky_never_moves_and_what_passes_before_it_does(still_camera, how):
    clip, box = still_camera
    depth = np.where(box, clip["depth"], np.inf)
    depth[:, 20:] = clip["depth"][:, 20:]
    mask = box.copy()
    mask[:, :8, :20] = True  # a piece of sky, by mistake
    refined = refine(
        **(clip | {"depth": depth}), moves=mask, how=how, options=RefineOptions(close=0, grow=0, neighbours=0)
    )
    assert np.isfinite(refined.losses[refined.labels.max(axis=(1, 2)) >= 0][:, 0]).all()
    np.testing.assert_array_equal(refined.masks, box)


@pytest.mark.parametrize("how", HOWS)
def test_every_second_view_is_the_clip_of_these(still_camera, how):
    clip, box = still_camera
    labels = np.where(box, 0, STATIC)
    few = refine(**clip, moves=box, how=how, labels=labels, options=RefineOptions(every=2))
    alone = refine(
        **{name: values[::2] for name, values in clip.items()},
        moves=box[::2],
        how=how,
        labels=labels[::2],
        scale=few.scale,
    )
    np.testing.assert_array_equal(few.losses[::2], alone.losses)
    assert not np.array_equal(few.losses, refine(**clip, moves=box, how=how, labels=labels).losses, equal_nan=True)


@pytest.mark.parametrize("how", HOWS)
def test_views_are_met_some_at_a_time(still_camera, how, monkeypatch):
    clip, box = still_camera
    at_once = refine(**clip, moves=box, how=how)
    monkeypatch.setattr(scenes, "_AT_ONCE", 100)
    np.testing.assert_allclose(refine(**clip, moves=box, how=how).losses, at_once.losses, rtol=1e-12, atol=1e-15)


def test_progress_counts_frames(still_camera):
    clip, box = still_camera
    told = []
    refine(**clip, moves=box, progress=told.append)
    assert told == list(range(1, FRAMES + 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moves": np.zeros((5, HEIGHT, WIDTH), bool)}, "moves are 5x30x40, and depth of 6x30x40"),
        ({"moves": np.full((FRAMES, HEIGHT, WIDTH), 255, np.uint8)}, "moves are uint8, and have to be bool"),
        (
            {"images": np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.int64)},
            "images are int64, and have to be uint8, or float",
        ),
        ({"cam2world": np.stack([np.eye(4)] * 5 + [np.diag([1.0, 1, 0, 1])])}, "cam2world of frame 5 has no inverse"),
        ({"intrinsics": np.ones((FRAMES, 3, 3))}, "intrinsics of frame 0 has no inverse"),
        ({"how": "guess"}, "refinement 'guess': there are residual, gradient"),
        ({"images": np.zeros((FRAMES, 8, 8, 3), np.uint8)}, "images are 6x8x8x3"),
        ({"cam2world": np.zeros((FRAMES, 3, 4))}, "wants 6x4x4"),
        ({"intrinsics": np.full((FRAMES, 3, 3), np.nan)}, "intrinsics are not finite"),
        ({"depth": np.zeros((FRAMES, HEIGHT, WIDTH))}, "no pixel has a depth above 0"),
        ({"scale": 0.0}, "a scale of 0.0 is none"),
        ({"labels": np.zeros((2, HEIGHT, WIDTH), int)}, "labels are not of the frames"),
        ({"options": RefineOptions(every=6)}, "has 6 frames, and with every=6 takes 7 at least"),
    ],
)
def test_what_does_not_fit_is_said(still_camera, changes, message):
    clip, box = still_camera
    with pytest.raises(InputError, match=message):
        refine(**(clip | {"moves": box} | changes))


@pytest.mark.parametrize(
    ("width", "pixels"), [(518, (5, 3)), (1036, (5, 3)), (504, (5, 3)), (336, (3, 1)), (168, (1, 1)), (14, (1, 1))]
)
def test_closing_and_growing_go_by_the_width_of_pictures(width, pixels):
    assert RefineOptions().at_width(width) == pixels
    assert RefineOptions(close=0, grow=9).at_width(width) == (0, 9)


def test_masks_of_narrow_pictures_do_not_grow(still_camera):
    clip, box = still_camera
    refined = refine(**clip, moves=box)
    np.testing.assert_array_equal(refined.masks, refined.kept)
    assert (refine(**clip, moves=box, options=RefineOptions(grow=3)).masks & ~box).any()


@pytest.mark.parametrize("values", [{"every": 0}, {"clusters": 0}, {"close": -1}, {"threshold": float("nan")}], ids=str)
def test_constants_that_cannot_be_are_refused(values):
    with pytest.raises(InputError, match=rf"refinement: {next(iter(values))}="):
        RefineOptions(**values)
