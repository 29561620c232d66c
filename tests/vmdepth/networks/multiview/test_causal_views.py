"""Depth Anything 3 over a video: clip and steps are one function, which is the causal mask over views."""

import pytest
import torch

from vmdepth.networks.attention import attend, use_attention
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.decoder import depth_and_confidence
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.presets import AnyViewConfig, MonoConfig
from vmdepth.networks.multiview.single_view import SingleView
from vmdepth.networks.multiview.views import imagenet_normalised
from vmdepth.official.depth_anything_3 import DEPTH_ANYTHING_3
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth_runtime.contract import Ring

HEIGHT, WIDTH, FRAMES = 28, 42, 24
TOLERANCE = 1e-4  # of the largest
CONFIG = AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4)


@pytest.fixture(scope="module")
def network():
    """With weights that matter."""
    generator = torch.Generator().manual_seed(0)
    network = AnyViewDepth(CONFIG)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * weight[0].numel() ** -0.5)
        network.camera_decoder.fc_fov[0].weight.mul_(0.1)  # so that focal lengths are those of pictures
        network.camera_decoder.fc_fov[0].bias.fill_(1)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def clip():
    return torch.rand(2, FRAMES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def near(got, expected, tolerance=TOLERANCE):
    return got.shape == expected.shape and (got - expected).abs().max() <= tolerance * expected.abs().max()


def all_near(got, expected, tolerance=TOLERANCE):
    names = ("depth", "confidence", "extrinsics", "intrinsics")
    return all(near(getattr(got, name), getattr(expected, name), tolerance) for name in names)


def in_pieces(model, clip, ends):
    """Depth of a clip in pieces that end there, and the states after the last."""
    depths, states, first = [], None, 0
    for end in ends:
        views, states = model(clip[:, first:end], states)
        depths.append(views.depth)
        first = end
    return torch.cat(depths, dim=1), states


def by_a_mask(model, clip):
    """Depth of a clip, with one large mask over all its tokens: the definition, written down."""
    batch, frames = clip.shape[:2]
    now, then = torch.arange(frames)[:, None], torch.arange(frames)
    sees = (then == 0) | ((then <= now) & (then > now - model.window))

    def over_views(index, block, tokens, rotation):
        count = tokens.shape[1]
        mask = torch.zeros(frames, frames).masked_fill(~sees, -torch.inf)
        mask = mask.repeat_interleave(count, 0).repeat_interleave(count, 1)

        def meet(*parts):
            joined = (x.unflatten(0, (batch, frames)).transpose(1, 2).flatten(2, 3) for x in parts)
            return attend(*joined, mask).unflatten(2, (frames, count)).transpose(1, 2).flatten(0, 1)

        return block(tokens, rotation, meet=meet)

    which = torch.ones(batch, frames, dtype=torch.long)
    which[:, 0] = 0
    special = model.encoder.camera_token[0, which.flatten()]
    maps, _ = model.encoder(imagenet_normalised(clip.flatten(0, 1)), special, over_views)
    outputs = depth_and_confidence(model.decoder, maps, (HEIGHT // 14, WIDTH // 14))
    return outputs["depth"].unflatten(0, (batch, frames))


@pytest.mark.parametrize("window", [2, 5, 8, FRAMES, 30])
@pytest.mark.parametrize("form", ["fused", "explicit"])
def test_clip_steps_and_mask_are_one_function(window, form, network, clip):
    model = CausalViews(network, window)
    with torch.inference_mode(), use_attention(form):
        whole, after = model(clip)
        assert near(whole.depth, by_a_mask(model, clip), 2e-5)
        states = None
        for number, frame in enumerate(clip.unbind(1)):
            views, states = model.step(frame, states)
            for name in ("depth", "confidence", "extrinsics", "intrinsics"):
                assert near(getattr(views, name), getattr(whole, name)[:, number : number + 1]), (name, number)
    assert all(near(states[name], after[name]) for name in after)


@pytest.mark.parametrize("ends", [(1, 24), (8, 9, 24), (3, 6, 12, 23, 24)])
def test_a_clip_may_come_in_any_pieces(ends, network, clip):
    model = CausalViews(network, 8)
    with torch.inference_mode():
        whole, after = model(clip)
        depth, states = in_pieces(model, clip, ends)
    assert near(depth, whole.depth)
    assert all(near(states[name], after[name]) for name in after)


@pytest.mark.parametrize("window", [2, 4, 7])
def test_the_counter_goes_round_and_changes_nothing(window, network, clip):
    model, long = CausalViews(network, window), torch.cat([clip[:1], clip[1:]], dim=1)
    with torch.inference_mode():
        depth, states = in_pieces(model, long, range(1, long.shape[1] + 1))
        assert near(depth, by_a_mask(model, long))
    assert window <= states["counter"] <= 2 * window - 2


def test_streams_of_a_batch_may_be_at_different_frames(network, clip):
    model = CausalViews(network, 4)
    with torch.inference_mode():
        _, late = model(clip[:1, :9])
        _, early = model(clip[1:, :2])
        both, _ = model(clip[:, 9:15], {name: torch.cat([late[name], early[name]]) for name in late})
        alone = [model(clip[i : i + 1, 9:15], states)[0].depth for i, states in enumerate((late, early))]
    assert near(both.depth, torch.cat(alone))


@pytest.mark.parametrize("name", ["io_da3_small_n4_first", "io_da3_small_n2"])
def test_with_the_mask_off_it_is_the_official_network(name, official_weights, shared_reference):
    import numpy as np

    file = CheckpointFile(shared_reference / "da3-small", official_weights("da3_small"))
    model = DEPTH_ANYTHING_3.build(file, LoadOptions(temporal="causal", window=8))
    io = {key: torch.from_numpy(array) for key, array in np.load(shared_reference / f"{name}.npz").items()}
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        views = model.whole(io["input"] * std + mean)
    got = {"depth": views.depth, "depth_conf": views.confidence, "extrinsics": views.extrinsics}
    for key, value in got.items():
        assert near(value, io[key], 2e-5), key


def test_with_the_mask_off_it_is_the_any_view_network(network, clip):
    with torch.inference_mode():
        assert all_near(CausalViews(network, FRAMES).whole(clip), network(clip, reference="first"), 2e-5)
        first, _ = CausalViews(network)(clip[:, :1])
        assert all_near(first, network(clip[:, :1]), 2e-5)


def test_gradients_go_back_through_what_was_remembered(network, clip):
    model = CausalViews(network, 2)
    frames = clip[:1, :4].clone().requires_grad_()
    views, _ = model(frames)
    views.depth[:, 3].sum().backward()
    assert all(frames.grad[0, n].abs().sum() > 0 for n in range(4))


def test_a_ring_tells_the_window(network):
    model = SingleView(network).remembering(Ring(slots=5, anchors=1, axis=2))
    assert isinstance(model, CausalViews)
    assert (model.window, model.ring) == (5, Ring(5, 1, 2))
    assert model.remembering(Ring(3, 1, 2)).window == 3
    with pytest.raises(ValueError, match="rings with one anchor"):
        model.remembering(Ring(slots=5, anchors=0, axis=2))
    with pytest.raises(ValueError, match="alone"):
        SingleView(MonoDepth(MonoConfig("tiny", 32, (24, 48, 96, 192)))).remembering(model.ring)


def test_what_cannot_be_is_refused(network, clip):
    with pytest.raises(ValueError, match="window 1: is 2 frames or more"):
        CausalViews(network, 1)
    model = CausalViews(network, 4)
    with pytest.raises(ValueError, match="the nearest are 14x42 and 28x42"):
        model(clip[..., :20, :])
    with pytest.raises(ValueError, match="block_11"):
        model(clip, {})
    _, states = model(clip[:, :1])
    with pytest.raises(ValueError, match="this input needs"):
        CausalViews(network, 5).step(clip[:, 1], states)
