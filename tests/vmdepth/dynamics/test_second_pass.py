"""The second pass: which blocks, which patches, the reference of the first, and its scale."""

import numpy as np
import pytest
import torch

from vmdepth.dynamics.capture import look
from vmdepth.dynamics.second_pass import masked_blocks, patches_that_move, scale_to, second_pass
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.encoder import ViewEncoder
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import VIEW_PRESETS, NestedConfig
from vmdepth_runtime.errors import InputError

SHAPE = 5, 42, 56


@pytest.fixture(scope="module")
def network(small_views):
    return small_views("any-view")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def moves():
    moves = np.zeros(SHAPE, bool)
    moves[1, 20:30, 10:13] = moves[2, 5, 40] = moves[3] = True
    return moves


@pytest.fixture(scope="module")
def first(network, images):
    """The first pass, without statistics: depth and cameras."""
    first = look(network, images, [], reference="middle")
    assert first.reference == 2
    return first


def run(network, images, moves, first, **options):
    options = {"depth": first.depth, "reference": first.reference} | options
    return second_pass(network, images, moves, **options)


def test_one_pixel_makes_a_patch_move(moves):
    patches = patches_that_move(moves)
    assert patches.shape == (5, 3, 4)
    assert np.argwhere(patches[1]).tolist() == [[1, 0], [2, 0]]
    assert np.argwhere(patches[2]).tolist() == [[0, 2]]
    assert patches[3].all()
    assert not patches[[0, 4]].any()


def test_where_nothing_is_left_out_it_is_the_first_pass(network, images, moves, first):
    for options in ({"moves": np.zeros(SHAPE, bool)}, {"blocks": ()}, {"blocks": 0}):
        again = run(network, images, first=first, **({"moves": moves} | options))
        assert again.depth.dtype == np.float32
        assert again.extrinsics.dtype == np.float64
        np.testing.assert_allclose(again.depth, first.depth, rtol=1e-5)
        np.testing.assert_allclose(again.extrinsics, first.extrinsics, atol=1e-5)
        assert again.scale == pytest.approx(1, abs=1e-6)


def test_what_is_left_out_changes_cameras(network, images, moves, first):
    out = run(network, images, moves, first)
    assert np.abs(out.extrinsics - first.extrinsics).max() > 1e-3
    rotation = out.extrinsics[..., :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12
    )
    sliced = run(network, images, moves, first, memory_budget="16MiB")
    np.testing.assert_allclose(sliced.extrinsics, out.extrinsics, atol=1e-5)
    np.testing.assert_allclose(sliced.depth, out.depth, rtol=1e-5)


def test_long_videos_go_in_windows_like_the_first_pass(network):
    """Windows whose reference is chosen anew, put together: the first pass again where nothing moves."""
    images = np.random.default_rng(1).integers(0, 256, (30, 28, 42, 3), dtype=np.uint8)
    first = look(network, images, [], window=20)
    still, moves = np.zeros((30, 28, 42), bool), np.zeros((30, 28, 42), bool)
    again = run(network, images, still, first, window=20)
    np.testing.assert_allclose(again.depth, first.depth, rtol=1e-4)
    np.testing.assert_allclose(again.extrinsics, first.extrinsics, atol=1e-4)
    moves[:, :14, 14:28] = True
    assert np.abs(run(network, images, moves, first, window=20).extrinsics - first.extrinsics).max() > 1e-3
    assert np.isfinite(run(network, images, ~still, first, window=20).extrinsics).all()  # with nothing to align by


def test_the_reference_is_the_one_it_is_told(network, images, moves, first):
    """Chosen anew it could be another view, and cameras and scale with it."""
    out, other = (run(network, images, moves, first, reference=view) for view in (first.reference, 0))
    assert np.abs(out.extrinsics - other.extrinsics).max() > 1e-4


def test_depth_and_cameras_come_at_the_scale_of_the_first_pass(network, images, moves, first):
    plain = run(network, images, moves, first)
    depth = first.depth.copy() * 3
    depth[moves] *= 50  # what moves tells no scale
    tripled = run(network, images, moves, first, depth=depth)
    assert tripled.scale == pytest.approx(3 * plain.scale)
    np.testing.assert_allclose(tripled.depth, 3 * plain.depth, rtol=1e-5)
    np.testing.assert_allclose(tripled.extrinsics[..., 3], 3 * plain.extrinsics[..., 3])
    np.testing.assert_array_equal(tripled.extrinsics[..., :3], plain.extrinsics[..., :3])


def test_scale_of_depth_with_holes():
    source = np.array([[1, 2, np.nan, 0, 5]], np.float32)
    target = np.array([[2, 4, 1, 1, 25]], np.float32)
    still = np.array([[True, True, True, True, False]])
    assert scale_to(source, target, still) == 2
    assert scale_to(source, target, np.zeros_like(still)) == 2  # all move: over all, of which the median is 2
    assert scale_to(source * np.nan, target, still) == 1


@pytest.mark.parametrize(
    ("name", "early"), [("small", (5,)), ("base", (5,)), ("large", (9, 11)), ("giant", (13, 15, 17))]
)
def test_blocks_of_the_published_sizes(name, early):
    config = VIEW_PRESETS[name]
    with torch.device("meta"):
        encoder = ViewEncoder(name, config.taps, config.start)
    assert masked_blocks(encoder, "early") == early
    assert masked_blocks(encoder, "first_eight") == (1, 2, 3, 4, 5, 6, 7, 8)
    assert masked_blocks(encoder, 4) == tuple(encoder.global_blocks[:4])
    assert masked_blocks(encoder, [7, 4, 7]) == (4, 7)


def test_a_causal_network_is_asked_without_its_mask_over_time(network, images, moves, first):
    np.testing.assert_array_equal(
        run(CausalViews(network), images, moves, first).extrinsics, run(network, images, moves, first).extrinsics
    )


def test_a_nested_network_leaves_out_where_its_views_see_each_other(network, images, moves, small_views):
    metric = small_views("metric")
    nested = NestedDepth(NestedConfig(network.config, metric.config)).eval()
    nested.views, nested.metric = network, metric
    first = look(nested, images, [], reference="middle")
    again = run(nested, images, np.zeros(SHAPE, bool), first)
    np.testing.assert_allclose(again.extrinsics, first.extrinsics, atol=1e-4 * np.abs(first.extrinsics).max())
    out = run(nested, images, moves, first)
    assert np.abs(out.extrinsics - first.extrinsics).max() > 1e-3


def test_what_does_not_fit_is_refused(network, images, moves, first, small_views):
    for message, options in {
        r"masks \[5, 42, 42\]: these frames need \[5, 42, 56\]": {"moves": moves[..., :42]},
        r"depth of the first pass \[4, 42, 56\]": {"depth": first.depth[:4]},
        "reference 5: there are views 0 to 4": {"reference": 5},
        "block 12: this network has blocks 0 to 11": {"blocks": (5, 12)},
        r"the first 5 blocks: of this network 4 see all views \(5, 7, 9, 11\)": {"blocks": 5},
        "blocks 'all': it can be early, first_eight, or numbers": {"blocks": "all"},
        "memory budget 0MiB is too little|too little": {"memory_budget": "100KiB"},
    }.items():
        with pytest.raises(InputError, match=message):
            run(network, images, first=first, **({"moves": moves} | options))
    with pytest.raises(InputError, match="whose views see each other"):
        run(small_views("mono"), images, moves, first)
    with pytest.raises(InputError, match="no multiple of 14"):
        run(network, images[:, :40], moves[:, :40], first, depth=first.depth[:, :40])
