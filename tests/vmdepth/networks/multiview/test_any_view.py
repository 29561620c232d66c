"""Views see each other in global blocks and nowhere else; slices, budgets and observers change no result."""

import pytest
import torch

from vmdepth.networks.attention import use_attention
from vmdepth.networks.multiview import encoder
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.cameras import relative_to_first
from vmdepth.networks.multiview.presets import AnyViewConfig
from vmdepth.networks.observer import Observer

CONFIG = AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4)
VIEWS, HEIGHT, WIDTH = 4, 28, 42
TOKENS = 1 + 2 * 3


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = AnyViewDepth(CONFIG).eval()
    for name, weight in network.named_parameters():
        if "encoder.blocks" in name and weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.1)  # an untrained encoder changes its tokens too little to test with
    torch.nn.init.normal_(network.encoder.camera_token)
    return network


@pytest.fixture(scope="module")
def clip():
    return torch.rand(2, VIEWS, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def assert_same(a, b, tolerance=1e-5):
    for name in ("depth", "confidence", "extrinsics", "intrinsics", "rays", "ray_confidence"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            assert ((x - y).abs().max() / y.abs().max()) <= tolerance, name


@torch.no_grad()
def test_shapes_and_ranges(network, clip):
    out = network(clip)
    assert out.depth.shape == out.confidence.shape == (2, VIEWS, HEIGHT, WIDTH)
    assert out.extrinsics.shape == (2, VIEWS, 3, 4)
    assert out.intrinsics.shape == (2, VIEWS, 3, 3)
    assert out.rays is None
    assert out.sky is None
    assert (out.depth > 0).all()
    assert (out.confidence >= 1).all()
    out = network(clip, rays=True)
    assert out.rays.shape == (2, VIEWS, 8 * 2, 8 * 3, 6)
    assert out.ray_confidence.shape == (2, VIEWS, 8 * 2, 8 * 3)


@torch.no_grad()
@pytest.mark.parametrize("cut", [{"chunk": 1}, {"chunk": 3}, {"chunk": 100}, {"memory_budget": "12MiB"}])
@pytest.mark.parametrize("form", ["fused", "explicit"])
def test_no_cut_changes_the_result(network, clip, cut, form):
    whole = network(clip, rays=True)
    with use_attention(form):
        assert_same(network(clip, rays=True, **cut), whole)


@torch.no_grad()
@pytest.mark.parametrize("cut", [{}, {"chunk": 1}, {"memory_budget": "12MiB"}])
def test_every_view_sees_every_view_of_its_scene(network, clip, cut):
    before = network(clip, reference="first", **cut)
    for changed in (0, VIEWS - 1):
        other = clip.clone()
        other[0, changed] = 1 - other[0, changed]
        after = network(other, reference="first", **cut)
        moved = (after.depth - before.depth).abs().amax(dim=(2, 3))
        assert (moved[0] > 1e-4).all(), f"view {changed} is not seen by all"
        assert torch.equal(after.depth[1], before.depth[1])


def seen_by(network, clip, parts=("query",), **options):
    """What an observer is shown of every block: by part, [blocks][B, N, ...]."""
    shown = {part: {} for part in parts}

    def see(one):
        slices = shown[one.part].setdefault(one.layer, [])
        assert one.first == sum(map(len, slices))
        slices.append(one.values.clone())

    network(clip, observe=Observer(see, parts), **options)
    return {
        part: [torch.cat(blocks[layer]).unflatten(0, (-1, VIEWS)) for layer in range(12)]
        for part, blocks in shown.items()
    }


@torch.no_grad()
def test_only_global_blocks_mix_views(network, clip):
    def tokens_into(changed):
        other = clip.clone()
        if changed:
            other[:, 0] = 1 - other[:, 0]
        return seen_by(network, other, reference="first")["query"]

    moved = [(a - b).abs().amax(dim=(0, 2, 3, 4)) for a, b in zip(tokens_into(False), tokens_into(True), strict=True)]
    for layer in range(6):  # block 5 is the first global one; its queries come from before it
        assert moved[layer][0] > 0
        assert (moved[layer][1:] == 0).all(), layer
    for layer in range(6, 12):
        assert (moved[layer] > 1e-5).all(), layer


@torch.no_grad()
@pytest.mark.parametrize("form", ["fused", "explicit"])
@pytest.mark.parametrize("cut", [{}, {"chunk": 1}, {"chunk": 3}, {"memory_budget": "12MiB"}])
def test_global_attention_meets_all_keys_whatever_the_slices(network, clip, cut, form, monkeypatch):
    met = []
    original = encoder.attend_in_rows
    monkeypatch.setattr(
        encoder, "attend_in_rows", lambda q, k, v, rows: met.append(k.shape[-2]) or original(q, k, v, rows)
    )
    with use_attention(form):
        network(clip, **cut)
    assert set(met) == {VIEWS * TOKENS}


@torch.no_grad()
@pytest.mark.parametrize("cut", [{}, {"chunk": 1}, {"chunk": 3}])
def test_observing_shows_what_goes_into_attention_and_changes_nothing(network, clip, cut):
    told = []
    observe = Observer(told.append, ("query", "key", "input", "output"))
    assert_same(network(clip, observe=observe, **cut), network(clip, **cut), tolerance=0)
    assert sorted({one.layer for one in told}) == list(range(12))
    assert sorted({one.layer for one in told if one.kind == "global"}) == [5, 7, 9, 11]
    assert {one.special for one in told} == {1}
    assert max(len(one.values) for one in told) == min(cut.get("chunk", 99), 2 * VIEWS if not cut else VIEWS)
    cut_up, whole = (seen_by(network, clip, observe.parts, **options) for options in (cut, {}))
    for part, blocks in cut_up.items():
        for layer, (one, other) in enumerate(zip(blocks, whole[part], strict=True)):
            assert one.shape == ((2, VIEWS, 3, TOKENS, 64) if part in ("query", "key") else (2, VIEWS, TOKENS, 192))
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
            if part == "output" and layer != 3:  # after which the camera token comes in
                torch.testing.assert_close(one, [*cut_up["input"], one][layer + 1], rtol=0, atol=0)


@torch.no_grad()
def test_what_is_not_asked_for_is_not_shown(network, clip):
    told = []
    network(clip, chunk=1, observe=Observer(told.append, ("key", "output"), layers=(2, 7)).from_image(100))
    assert {(one.layer, one.part) for one in told} == {(2, "key"), (2, "output"), (7, "key"), (7, "output")}
    assert [one.first for one in told if one.layer == 7 and one.part == "key"] == list(range(100, 108))


@torch.no_grad()
def test_observed_queries_and_keys_give_the_block_s_attention(network, clip, monkeypatch):
    """After norm and rotation, so that their product is what the softmax sees."""
    entered = []
    original = encoder.attend_in_rows
    monkeypatch.setattr(encoder, "attend_in_rows", lambda q, k, v, r: entered.append((q, k)) or original(q, k, v, r))
    seen = seen_by(network, clip[:1], ("query", "key"))
    for (query, key), layer in zip(entered, (5, 7, 9, 11), strict=True):
        assert torch.equal(seen["query"][layer][0].transpose(0, 1).flatten(1, 2), query[0])
        assert torch.equal(seen["key"][layer][0].transpose(0, 1).flatten(1, 2), key[0])


@torch.no_grad()
@pytest.mark.parametrize(("reference", "order"), [("saddle_balanced", [2, 0, 3, 1]), ("first", [0, 3, 2, 1])])
def test_the_order_of_views_only_matters_to_the_reference(network, clip, reference, order):
    a, b = network(clip, reference=reference), network(clip[:, order], reference=reference)
    assert (a.depth[:, order] - b.depth).abs().max() <= 1e-4 * a.depth.abs().max()


@torch.no_grad()
def test_given_cameras_matter(network, clip):
    out = network(clip)
    given = relative_to_first(out.extrinsics)
    posed = network(clip, extrinsics=given, intrinsics=out.intrinsics)
    assert (posed.depth - out.depth).abs().max() > 1e-4
    square = torch.cat([given, torch.tensor([0.0, 0, 0, 1]).expand(2, VIEWS, 1, 4)], dim=2)
    assert_same(network(clip, extrinsics=square, intrinsics=out.intrinsics), posed, tolerance=1e-6)


def test_gradients_reach_every_used_weight(network, clip):
    network.zero_grad()
    out = network(clip[:, :2], rays=True, chunk=1)
    (
        out.depth.sum() + out.confidence.sum() + out.rays.sum() + out.ray_confidence.sum() + out.extrinsics.sum()
    ).backward()
    without = {name for name, weight in network.named_parameters() if weight.grad is None}
    assert all(name.startswith("camera_encoder.") for name in without)
    network.zero_grad()


@torch.no_grad()
def test_what_does_not_fit_is_refused(network, clip):
    with pytest.raises(ValueError, match="nearest are 28x28 and 28x42"):
        network(clip[..., :40])
    with pytest.raises(ValueError, match=r"views are \[B, N, 3, H, W\]"):
        network(clip[0])
    with pytest.raises(ValueError, match="there are saddle_balanced, saddle_sim_range, first, middle"):
        network(clip, reference="last")
    with pytest.raises(ValueError, match="together"):
        network(clip, extrinsics=torch.zeros(2, VIEWS, 3, 4))
    with pytest.raises(ValueError, match=r"extrinsics have shape .* these views need \[2, 4, 3, 4\]"):
        network(clip, extrinsics=torch.zeros(2, 3, 3, 4), intrinsics=torch.zeros(2, VIEWS, 3, 3))
    with pytest.raises(ValueError, match="chunk 0"):
        network(clip, chunk=0)
    with pytest.raises(ValueError, match="not both"):
        network(clip, chunk=1, memory_budget="1GiB")
    blind = AnyViewDepth(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4, False, False)).eval()
    assert blind(clip).extrinsics is None
    with pytest.raises(ValueError, match="no camera encoder"):
        blind(clip, extrinsics=torch.zeros(2, VIEWS, 3, 4), intrinsics=torch.zeros(2, VIEWS, 3, 3))
