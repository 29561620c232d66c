"""Patches left out of an any-view network: what changes nothing any more, where, and that no slice changes it."""

from functools import partial

import pytest
import torch

from vmdepth.networks.attention import attend, use_attention
from vmdepth.networks.leave_out import LeaveOut, key_mask
from vmdepth.networks.multiview.memory import Slices
from vmdepth.networks.observer import Observer

VIEWS, ROWS, COLUMNS = 4, 2, 3
CUTS = [{"chunk": 1}, {"chunk": 3}, {"memory_budget": "12MiB"}]


@pytest.fixture(scope="module")
def network(small_views):
    return small_views("any-view")


@pytest.fixture(scope="module")
def clip():
    return torch.rand(2, VIEWS, 3, 14 * ROWS, 14 * COLUMNS, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def patches():
    """Two scenes that keep different numbers of patches; one view of each is left out whole, one not at all."""
    patches = torch.rand(2, VIEWS, ROWS, COLUMNS, generator=torch.Generator().manual_seed(3)) < 0.4
    patches[:, 1], patches[:, 2] = True, False
    assert patches[0].sum() != patches[1].sum()
    return patches


def differ(a, b):
    pairs = ((getattr(a, name), getattr(b, name)) for name in ("depth", "confidence", "extrinsics", "intrinsics"))
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in pairs)


@torch.no_grad()
@pytest.mark.parametrize("blocks", [(5,), (5, 7, 9, 11), tuple(range(1, 9))])
def test_no_cut_and_no_form_changes_the_result(network, clip, patches, blocks):
    leave_out = LeaveOut(patches, blocks)
    whole = network(clip, leave_out=leave_out)
    assert differ(whole, network(clip)) > 1e-3
    for form in ("fused", "explicit"):
        with use_attention(form):
            for cut in ({}, *CUTS):
                assert differ(network(clip, leave_out=leave_out, **cut), whole) <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("blocks", [(), (5, 7), tuple(range(1, 9))])
def test_it_is_attention_with_a_mask(network, clip, patches, blocks):
    """Written down: queries of every block meet all keys, those left out with −∞ on their score."""
    model, images = network.encoder, clip.flatten(0, 1)
    kept = torch.cat([torch.ones(2 * VIEWS, 1, dtype=torch.bool), ~patches.flatten(0, 1).flatten(1)], dim=1)

    def meet(index, query, key, value):
        mask = key_mask(kept, key.dtype) if index in blocks else None
        if index not in model.global_blocks:
            return attend(query, key, value, mask)
        mask = key_mask(kept.view(2, -1), key.dtype) if index in blocks else None
        joined = (x.unflatten(0, (2, VIEWS)).transpose(1, 2).flatten(2, 3) for x in (query, key, value))
        return attend(*joined, mask).unflatten(2, (VIEWS, -1)).transpose(1, 2).flatten(0, 1)

    special = model.camera_token[0, [0, *[1] * (VIEWS - 1)] * 2]
    own, shared = model.rotations((ROWS, COLUMNS))
    tokens, taps = model.embed(images, model.positions((ROWS, COLUMNS))), []
    for index, block in enumerate(model.blocks):
        if index == model.start:
            tokens = torch.cat([special[:, None], tokens[:, 1:]], dim=1)
        before = tokens
        rotation = None if index < model.start else shared if index in model.global_blocks else own
        tokens = block(tokens, rotation, meet=partial(meet, index))
        if index in model.taps:
            taps.append(model.tap(before, tokens)[0])

    def compare(level, first, found, _):
        assert (found - taps[level][first : first + len(found)]).abs().max() <= 1e-5 * taps[level].abs().max()
        seen.append(level)

    seen = []
    leave_out = LeaveOut(patches, blocks)
    model.in_slices(images, VIEWS, compare, Slices(3, 3, rows=2), special, leave_out=leave_out)
    assert set(seen) == {0, 1, 2, 3}


@torch.no_grad()
def test_what_a_view_shows_where_it_is_left_out_everywhere_does_not_reach_the_others(network, clip):
    patches = torch.zeros(2, VIEWS, ROWS, COLUMNS, dtype=torch.bool)
    patches[:, 2, :, 1] = True
    changed = clip.clone()
    changed[:, 2, :, :, 14:28] = 1 - changed[:, 2, :, :, 14:28]

    def moved(leave_out):
        a, b = (network(x, reference="first", leave_out=leave_out).depth for x in (clip, changed))
        return (a - b).abs().amax(dim=(0, 2, 3))

    assert (moved(None) > 1e-5).all()
    left = moved(LeaveOut(patches, range(12)))
    assert (left[[0, 1, 3]] == 0).all()
    assert left[2] > 0  # its own depth is that of its own queries


@torch.no_grad()
@pytest.mark.parametrize("form", ["fused", "explicit"])
def test_views_that_are_all_left_out_are_no_hole(network, clip, form):
    patches = torch.ones(2, VIEWS, ROWS, COLUMNS, dtype=torch.bool)
    with use_attention(form):
        out = network(clip, leave_out=LeaveOut(patches, range(12)))
    assert out.depth.isfinite().all()
    assert out.extrinsics.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("blocks", [(5,), tuple(range(1, 9))])
def test_observing_shows_all_keys_and_changes_nothing(network, clip, patches, blocks):
    leave_out, shown = LeaveOut(patches, blocks), []
    observe = Observer(lambda one: shown.append((one.layer, one.values.shape)), parts=("key",))
    assert differ(network(clip, leave_out=leave_out, observe=observe), network(clip, leave_out=leave_out)) == 0
    assert {layer for layer, _ in shown} == set(range(12))
    assert {shape[2] for _, shape in shown} == {1 + ROWS * COLUMNS}


def test_gradients_pass(network, clip, patches):
    clip = clip.clone().requires_grad_()
    network(clip, leave_out=LeaveOut(patches, (4, 5))).depth.sum().backward()
    assert clip.grad.isfinite().all()
    assert clip.grad.abs().sum() > 0


@torch.no_grad()
def test_what_does_not_fit_is_refused(network, clip, patches):
    with pytest.raises(ValueError, match=r"bool \[2, 4, 3, 2\]; these views need bool \[2, 4, 2, 3\]"):
        network(clip, leave_out=LeaveOut(patches.transpose(2, 3), (5,)))
    with pytest.raises(ValueError, match="block 12: this network has blocks 0 to 11"):
        network(clip, leave_out=LeaveOut(patches, (5, 12)))
