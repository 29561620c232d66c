"""Refinement gives the masks and losses of VGGT4D's released code, whatever the unit of depth."""

import numpy as np
import pytest

from vmdepth.dynamics.refinement.options import CLOSE, GROW, UNSEEN, RefineOptions
from vmdepth.dynamics.refinement.refine import STATIC, refine

RELEASED = RefineOptions(close=CLOSE, grow=GROW)  # whatever the pictures' width


def unpacked(bits, shape):
    return np.unpackbits(bits, axis=1)[:, : shape[1] * shape[2]].reshape(shape).astype(bool)


@pytest.fixture(scope="module")
def reference(shared_reference):
    """Five frames of a wall, a floor and a box that moves, and what the released code makes of them."""
    with np.load(shared_reference / "vggt4d/io_vggt4d_refine.npz") as file:
        arrays = dict(file)
    arrays["clip"] = {
        "images": (arrays["image_u8"] / 256).astype(np.float32),
        "depth": arrays["depth"],
        "cam2world": arrays["cam2world"],
        "intrinsics": arrays["K"],
    }
    return arrays


def masks_of(reference, name):
    return unpacked(reference[name], reference["depth"].shape)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("given", [True, False], ids=["labels given", "own clusters"])
@pytest.mark.parametrize("mask", ["tiles", "box"])
def test_masks_are_the_released_ones(reference, mask, given):
    labels = reference[f"{mask}_labels"]
    coarse = masks_of(reference, f"coarse_{mask}")
    refined = refine(**reference["clip"], moves=coarse, scale=1.0, labels=labels if given else None, options=RELEASED)
    np.testing.assert_array_equal(refined.kept, masks_of(reference, f"{mask}_premorph"))
    np.testing.assert_array_equal(refined.masks, masks_of(reference, f"{mask}_final"))
    np.testing.assert_array_equal(np.minimum(refined.labels, 0), np.minimum(labels, 0))


@pytest.mark.parametrize("mask", ["tiles", "box"])
def test_losses_are_the_released_ones(reference, mask):
    labels = reference[f"{mask}_labels"]
    coarse = masks_of(reference, f"coarse_{mask}")
    refined = refine(**reference["clip"], moves=coarse, scale=1.0, labels=labels)
    for frame, ids in enumerate(reference[f"{mask}_label_ids"]):
        expected, found = reference[f"{mask}_loss"][frame], refined.losses[frame, ids]
        unseen = expected[:, 2] == UNSEEN
        np.testing.assert_array_equal(found[:, 2] == UNSEEN, unseen)
        np.testing.assert_allclose(found[~unseen], expected[~unseen], rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", ["residual", "gradient"])
def test_both_ways_take_away_what_stands_still(reference, how):
    true, coarse = masks_of(reference, "true_box"), masks_of(reference, "coarse_box")
    refined = refine(**reference["clip"], moves=coarse, how=how, options=RELEASED)
    for before, after, truth in zip(coarse, refined.masks, true, strict=True):
        assert iou(before, truth) < 0.68
        assert iou(after, truth) > 0.84


@pytest.mark.parametrize("how", ["residual", "gradient"])
def test_the_unit_of_depth_changes_nothing(reference, how):
    clip = reference["clip"]
    coarse = masks_of(reference, "coarse_box")
    labels = reference["box_labels"]
    plain = refine(**clip, moves=coarse, how=how, labels=labels)
    cameras = clip["cam2world"] * np.array([1, 1, 1, 37.0])
    cameras[:, 3, 3] = 1
    scaled = refine(
        **(clip | {"depth": clip["depth"] * 37, "cam2world": cameras}), moves=coarse, how=how, labels=labels
    )
    assert scaled.scale == pytest.approx(37 * plain.scale)
    np.testing.assert_array_equal(scaled.masks, plain.masks)
    np.testing.assert_allclose(scaled.losses, plain.losses, rtol=1e-4, atol=1e-6)


def test_bytes_and_floats_are_the_same_pictures(reference):
    clip, coarse = reference["clip"], masks_of(reference, "coarse_box")
    labels = reference["box_labels"]
    pictures = reference["image_u8"]
    of_bytes = refine(**(clip | {"images": pictures}), moves=coarse, labels=labels)
    of_floats = refine(**(clip | {"images": (pictures / 255).astype(np.float32)}), moves=coarse, labels=labels)
    np.testing.assert_allclose(of_bytes.losses, of_floats.losses, rtol=0, atol=1e-6)


def test_only_what_was_in_the_mask_is_in_a_cluster(reference):
    coarse = masks_of(reference, "coarse_tiles")
    refined = refine(**reference["clip"], moves=coarse)
    assert (refined.labels[~coarse] <= STATIC).all()
    assert not (refined.kept & ~coarse).any()
