"""Masks of whole methods: against the stored ones of VGGT4D's released code, and on clips of which parts rest."""

from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from vmdepth.dynamics.accumulators import raw_maps
from vmdepth.dynamics.first_pass import FirstPass
from vmdepth.dynamics.layers import TABLES
from vmdepth.dynamics.maps import per_frame, product, w_deep, w_middle, w_shallow
from vmdepth.dynamics.methods import METHODS, MaskStages, masks, needs, published_maps, resting_frames
from vmdepth.networks.moving.bands import Bands
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sources.open import open_source

CHOICE = TABLES["vggt"]
NAMES = {
    "mean3": "similarity_kk_shallow",
    "var3": "variance_qk_shallow",
    "mean1": "similarity_qq_middle",
    "mean2": "similarity_qq_deep",
    "var1": "variance_qq_deep",
}
FROM_PUBLISHED = dict(zip(NAMES, needs("published", CHOICE), strict=True))


@pytest.fixture(scope="module")
def stored(shared_reference):
    return np.load(shared_reference / "vggt4d" / "io_vggt4d_dyn.npz")


@pytest.fixture(scope="module")
def planted(stored) -> FirstPass:
    """The stored raw maps and features, before a picture that does not change."""
    raw = {statistic: stored[f"raw_{name}_direct64"] for name, statistic in FROM_PUBLISHED.items()}
    features = stored["feat_i8"].astype(np.float32)
    return FirstPass(np.zeros((13, 140, 168, 3), np.uint8), raw, features, np.ones((13, 140, 168), np.float32), True)


@pytest.fixture(scope="module")
def published(planted):
    return masks(planted, "published", CHOICE)


@pytest.mark.parametrize("name", NAMES)
def test_normalised_maps_are_the_released_ones(stored, published, name):
    np.testing.assert_allclose(published.stages[NAMES[name]], stored[f"map_{name}"], atol=2e-6)


def test_fused_clustered_and_grown_maps_are_the_released_ones(stored, published):
    np.testing.assert_allclose(published.stages["product"], stored["dyn_map"], atol=2e-6)
    np.testing.assert_allclose(published.stages["clustered"], stored["clustered_map"], atol=2e-6)
    np.testing.assert_allclose(published.soft[6], stored["upsampled_frame6"], atol=2e-6)


def test_the_mask_is_the_released_one(stored, published, planted):
    assert published.threshold == pytest.approx(float(stored["threshold"]), abs=1e-6)
    expected = np.unpackbits(stored["mask_packed"], axis=1).reshape(13, 140, 168).astype(bool)
    assert (published.moves != expected).mean() <= 0.0005
    assert (published.soft.dtype, published.moves.dtype) == (np.float32, bool)
    full = masks(planted, "full", CHOICE)
    np.testing.assert_array_equal(full.moves, published.moves)  # what is refined later


def test_from_queries_and_keys_to_the_released_mask(stored, planted):
    queries = torch.from_numpy(stored["q_i8_used"]).float().unbind(1)
    blocks = dict(zip((0, *range(3, 8), *range(17, 22)), (query / 8 for query in queries), strict=True))
    keys = {0: torch.from_numpy(stored["k_i8_layer0"]).float() / 8}
    found = raw_maps(needs("published", CHOICE), blocks, keys)
    raw = {statistic: values.numpy().reshape(13, 10, 12) for statistic, values in found.items()}
    expected = np.unpackbits(stored["mask_packed"], axis=1).reshape(13, 140, 168).astype(bool)
    assert (masks(replace(planted, raw=raw), "published", CHOICE).moves != expected).mean() <= 0.0005


def test_four_frames_are_enough(stored):
    """The same maps where every frame has a single other one, of raw maps by the plainest formula."""
    layers = [0, 3, 4, 5, 6, 7, 17, 18, 19, 20, 21]
    query = dict(zip(layers, np.moveaxis(stored["q_i8_used"][:4] / 8, 1, 0), strict=True))
    key = {0: stored["k_i8_layer0"][:4] / 8}
    found = {}
    for name, statistic in FROM_PUBLISHED.items():
        left, right = (query if side == "Q" else key for side in statistic.pair)
        scores = np.mean([left[i] @ right[i][[2, 3, 0, 1]].swapaxes(-1, -2) for i in statistic.layers], axis=(0, 2))
        raw = scores.mean(-1) if statistic.kind == "similarity" else scores.std(-1, ddof=1)
        found[name] = per_frame(raw.reshape(4, 10, 12).astype(np.float32))
        np.testing.assert_allclose(found[name], stored[f"t4_{name}"], atol=2e-6)
    shallow, deep = w_shallow(found["mean3"], found["var3"]), w_deep(found["mean2"], found["var1"])
    fused = per_frame(product(shallow, w_middle(found["mean1"]), deep))
    np.testing.assert_allclose(fused, stored["t4_dyn"], atol=2e-6)


def test_every_factor_is_needed(stored, planted):
    """The distractors of the stored clip each look as if they moved in all factors but one."""
    moving = np.kron(stored["object_mask"], np.ones((14, 14), bool))

    def overlap(moves):
        return (moves & moving).sum() / (moves | moving).sum()

    assert overlap(masks(planted, "published", CHOICE).moves) > 0.9
    for statistic in planted.raw:
        flat = replace(planted, raw={**planted.raw, statistic: np.zeros((13, 10, 12), np.float32)})
        assert overlap(masks(flat, "published", CHOICE).moves) < 0.8


def global_pass(planted: FirstPass, moving: np.ndarray) -> FirstPass:
    """Global statistics of which all say the same: where something moves."""
    rng = np.random.default_rng(0)
    signs = {"similarity": -1, "variance": 1}
    raw = {s: signs[s.kind] * moving + 0.05 * rng.random(moving.shape) for s in needs("guided", CHOICE)}
    raw = {s: values.astype(np.float32) for s, values in raw.items()}
    grown = np.kron(moving, np.ones((14, 14))) > 0.5
    images = np.where(grown[..., None], np.uint8([200, 120, 90]), np.uint8([90, 120, 200]))
    return replace(planted, images=images, depth=np.where(grown, 2, 1).astype(np.float32), raw=raw)


@pytest.mark.parametrize("method", ["cross", "fused", "guided"])
def test_global_methods_find_what_all_statistics_tell_of(stored, planted, method):
    moving = stored["object_mask"].astype(float)
    found = masks(global_pass(planted, moving), method, CHOICE)
    truth = np.kron(moving, np.ones((14, 14))) > 0.5
    assert (found.moves & truth).sum() / (found.moves | truth).sum() > 0.75
    for values in (found.soft, *found.stages.values()):
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1


def test_stages_can_be_left_out(stored, planted):
    first = global_pass(planted, stored["object_mask"].astype(float))
    bare = MaskStages(guide_radius=0, smooth_frames=0, threshold=0.5)
    np.testing.assert_array_equal(masks(first, "guided", CHOICE, bare).moves, masks(first, "fused", CHOICE).moves)
    assert list(masks(first, "guided", CHOICE).stages)[-3:] == ["fused", "guided", "smoothed"]
    assert list(masks(first, "guided", CHOICE, bare).stages)[-1] == "fused"
    assert list(published_maps(planted, CHOICE, MaskStages(clusters=0)))[-1] == "product"


def test_global_statistics_are_asked_for_with_their_reach():
    one = Bands((9,), (9,), (9,), (9,))
    assert {statistic.reach for method in METHODS[:1] for statistic in needs(method, one, "past")} == {"window"}
    assert {statistic.reach for statistic in needs("fused", one, "past")} == {"past"}
    assert len(needs("guided", one)) == 5  # S^QQ of one block serves middle and deep
    assert [statistic.name for statistic in needs("cross", one)] == ["all/similarity/QK/9"]


def test_a_clip_without_any_change_comes_out_empty_where_that_is_allowed(planted):
    assert masks(planted, "published", CHOICE).moves.any(axis=(1, 2)).all()  # as released: in every frame something
    empty = masks(planted, "published", CHOICE, MaskStages(allow_empty=True))
    assert not empty.moves.any()
    assert not empty.soft.any()


def test_frames_in_which_nothing_moves_come_out_empty_beside_those_in_which_it_does(stored, planted):
    """Six frames with the object of the stored clip, then seven with what stands still of it."""
    moving = stored["object_mask"].copy()
    moving[6:] = False
    still = {}
    for name in NAMES:
        values = stored[f"raw_{name}_direct64"]
        still[name] = np.where(moving, values, np.median(values[~stored["object_mask"]])).astype(np.float32)
    images = np.random.default_rng(0).integers(0, 256, planted.images.shape, np.uint8)  # a camera that moves
    first = replace(planted, images=images, raw={FROM_PUBLISHED[name]: values for name, values in still.items()})
    found = masks(first, "published", CHOICE, MaskStages(allow_empty=True, clusters=0))
    assert found.moves.any(axis=(1, 2)).tolist() == [True] * 6 + [False] * 7


def test_a_picture_rests_where_no_patch_changes_for_six_frames_around():
    rng = np.random.default_rng(0)
    images = np.full((20, 28, 42, 3), 100, np.uint8)
    noisy = (images + rng.normal(0, 5, images.shape)).clip(0, 255).astype(np.uint8)
    assert resting_frames(noisy, (2, 3)).all()  # noise of single pixels is no change
    noisy[:4, 14:, 28:] += 10
    assert resting_frames(noisy, (2, 3)).tolist() == [False] * 10 + [True] * 10


def test_a_parked_cars_camera_rests_and_a_walking_robots_does_not(shared_data):
    """Leaves in the wind and noise are all that changes in the first; every frame of the second is another place."""
    files = sorted((shared_data / "real" / "tri_dgp_01_camera_06" / "rgb").iterdir())
    with open_source(shared_data / "videos" / "robot_unitree.mp4") as source:
        walking = [frame.image for frame in islice(source, 30)]
    for images, rests in (([cv2.imread(str(file)) for file in files], True), (walking, False)):
        small = [cv2.resize(image, (252, 168), interpolation=cv2.INTER_AREA) for image in images]
        assert (resting_frames(np.stack(small), (12, 18)) == rests).all()


@pytest.mark.parametrize("method", METHODS)
def test_too_few_frames_are_refused_with_how_many_it_takes(planted, method):
    least = 4 if method in ("published", "full") else 2
    short = replace(planted, images=planted.images[: least - 1])
    with pytest.raises(InputError, match=f"method '{method}' takes {least} or more"):
        masks(short, method, CHOICE)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ({"high": 0.2}, "0 ≤ low ≤ high ≤ 1"),
        ({"threshold": 1.5}, "threshold 1.5: maps lie in 0..1"),
        ({"clusters": -1}, "0 leaves it out"),
        ({"guide_softness": 0}, "has to be above 0"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages, says):
    with pytest.raises(InputError, match=says):
        MaskStages(**stages)


def test_what_the_first_pass_does_not_hold_is_named(planted):
    with pytest.raises(
        InputError, match=r"made for published or full, and .* 'cross' takes .* for cross, fused or guided$"
    ):
        masks(planted, "cross", CHOICE)
    with pytest.raises(InputError, match="method 'best': there are published, cross"):
        masks(planted, "best", CHOICE)


def test_statistics_that_are_not_finite_are_failed_work(planted):
    statistic, values = next(iter(planted.raw.items()))
    broken = np.where(np.arange(12) == 3, np.nan, values).astype(np.float32)
    with pytest.raises(WorkError, match="window/similarity/KK/0 is not finite"):
        masks(replace(planted, raw={**planted.raw, statistic: broken}), "published", CHOICE)


def test_flat_statistics_move_nothing(planted):
    flat = {statistic: np.full((13, 10, 12), 3, np.float32) for m in METHODS for statistic in needs(m, CHOICE)}
    for method in METHODS:
        assert not masks(replace(planted, raw=flat), method, CHOICE).moves.any()


def test_maps_of_released_methods_are_by_frame_unless_empty_ones_are_allowed(planted):
    by_frame = published_maps(planted, CHOICE, MaskStages(clusters=0))["product"]
    by_clip = published_maps(planted, CHOICE, MaskStages(clusters=0, allow_empty=True))["product"]
    assert by_frame.max((1, 2)).min() > 0.999
    assert by_clip.max((1, 2)).min() < 0.99
