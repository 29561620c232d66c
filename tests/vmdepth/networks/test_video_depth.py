"""Clip, chunks and steps are one network; the future is never seen; an untrained head changes nothing."""

from dataclasses import replace

import pytest
import torch

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.observer import Observer
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth

FRAMES, HEIGHT, WIDTH = 7, 42, 56
EVERY_TAP = replace(PRESETS["tiny"], taps=("layer_1", "layer_2", "layer_3", "layer_4", "path_4", "path_3", "path_1"))
CONFIGS = {
    **PRESETS,
    "tiny, head none": replace(PRESETS["tiny"], head=NoHead()),
    "tiny, every tap": EVERY_TAP,
    "edge, every tap": replace(PRESETS["edge"], taps=EVERY_TAP.taps),
    "edge, head attention": replace(PRESETS["edge"], head=AttentionSettings(window=4)),
    "tiny, expand 2, relu": replace(
        PRESETS["tiny"], head=MambaSettings(temporal_width=48, expand=2, d_state=8), output="relu"
    ),
}


def trained_like(config: NetworkConfig) -> VideoDepth:
    """A network whose heads matter: fresh ones are the identity, with which every comparison of states would pass."""
    torch.manual_seed(0)
    model = VideoDepth(config).eval()
    for head in model.heads.values():
        torch.nn.init.normal_(head.proj_out.weight, std=0.3)
    last = model.decoder.output_conv2 if config.encoder == "mobilenet" else model.decoder.scratch.output_conv2
    torch.nn.init.ones_(last[2].bias)  # away from where a ReLU would end at 0
    return model


def clip_of(batch: int = 2, frames: int = FRAMES, stride: int = 14) -> torch.Tensor:
    size = HEIGHT * stride // 14, WIDTH * stride // 14
    return torch.rand(batch, frames, 3, *size, generator=torch.Generator().manual_seed(1))


def spread(depth: torch.Tensor) -> float:
    low, high = torch.quantile(depth.flatten(), torch.tensor([0.01, 0.99]))
    return float(high - low)


def every_config():
    """All by name; the giant's 1.1 billion parameters take minutes. Video Depth Anything is the same at every size."""
    slow = ("giant", "vda-base-causal", "vda-large-causal")
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in CONFIGS]


@pytest.fixture(params=every_config(), scope="module")
def model(request):
    return trained_like(CONFIGS[request.param])


@torch.no_grad()
def test_steps_equal_the_clip_in_depth_and_states(model):
    clip = clip_of(stride=model.config.stride)
    depth, states = model(clip)
    stepped, carried = [], None
    for frame in clip.unbind(1):
        one, carried = model.step(frame, carried)
        stepped.append(one)
    assert (torch.stack(stepped, 1) - depth).abs().max() <= 1e-4 * spread(depth)
    assert carried.keys() == states.keys()
    for name in states:
        assert (carried[name] - states[name]).abs().max() <= 1e-4 * states[name].abs().max().clamp_min(1e-3), name


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(1, 6), (3, 4), (2, 2, 3), (6, 1), (1,) * 7], ids=str)
def test_any_split_into_chunks_equals_the_clip(lengths):
    model = trained_like(EVERY_TAP)
    clip = clip_of()
    depth, states = model(clip)
    chunks, carried = [], None
    for chunk in clip.split(lengths, dim=1):
        one, carried = model(chunk, carried)
        chunks.append(one)
    assert (torch.cat(chunks, 1) - depth).abs().max() <= 1e-4 * spread(depth)
    for name in states:
        assert (carried[name] - states[name]).abs().max() <= 1e-4 * states[name].abs().max().clamp_min(1e-3), name


@torch.no_grad()
def test_no_frame_sees_a_later_one(model):
    clip = clip_of(stride=model.config.stride)
    depth, _ = model(clip)
    for t in (0, 3, FRAMES - 2):
        other = clip.clone()
        other[:, t + 1 :] = 1 - other[:, t + 1 :]
        changed, _ = model(other)
        assert torch.equal(changed[:, : t + 1], depth[:, : t + 1])
        assert not torch.equal(changed[:, t + 1 :], depth[:, t + 1 :])


@torch.no_grad()
def test_a_trained_head_does_use_the_past():
    model = trained_like(PRESETS["tiny"])
    clip = clip_of()
    other = clip.clone()
    other[:, 0] = 1 - other[:, 0]
    assert (model(clip)[0][:, 1:] - model(other)[0][:, 1:]).abs().max() > 1e-3 * spread(model(clip)[0])


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_an_untrained_head_leaves_the_depth_as_it_was(name):
    torch.manual_seed(0)
    model = VideoDepth(PRESETS[name]).eval()
    without = VideoDepth(replace(PRESETS[name], head=NoHead())).eval()
    missing, unexpected = without.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert all(key.startswith("heads.") for key in unexpected)
    depth, expected = model(clip_of())[0], without(clip_of())[0]
    assert (depth - expected).abs().max() <= 1e-6 * spread(expected)


@torch.no_grad()
def test_streams_of_a_batch_do_not_mix(model):
    clip = clip_of(stride=model.config.stride)
    depth, _ = model(clip)
    alone, _ = model(clip[1:])
    assert (alone[0] - depth[1]).abs().max() <= 1e-4 * spread(depth)


@torch.no_grad()
def test_states_given_are_left_as_they_were():
    model = trained_like(PRESETS["tiny"])
    _, states = model(clip_of())
    before = {name: tensor.clone() for name, tensor in states.items()}
    model(clip_of(), states)
    model.step(clip_of()[:, 0], states)
    assert all(torch.equal(states[name], before[name]) for name in before)


def test_states_are_zeros_of_the_shapes_promised():
    model = VideoDepth(PRESETS["tiny"])
    states = model.init_states(2, HEIGHT, WIDTH)
    assert {name: tuple(t.shape) for name, t in states.items()} == model.state_shapes(2, HEIGHT, WIDTH)
    assert all(not t.any() for t in states.values())
    _, after = model(clip_of(), states)
    assert {name: t.shape for name, t in after.items()} == {name: t.shape for name, t in states.items()}


@pytest.mark.parametrize(
    ("preset", "height", "width", "said"),
    [
        ("tiny", 41, 56, "no multiple of 14; the nearest are 28x56 and 42x56"),
        ("tiny", 42, 57, "no multiple of 14; the nearest are 42x56 and 42x70"),
        ("tiny", 0, 14, "no multiple of 14; the nearest that works is 14x14"),
        ("tiny", 13, 14, "no multiple of 14; the nearest that works is 14x14"),
        ("edge", 196, 252, "no multiple of 16; the nearest are 192x240 and 208x256"),
    ],
)
def test_a_size_that_is_no_multiple_of_the_stride_is_refused_with_the_nearest(preset, height, width, said):
    with pytest.raises(ValueError, match=said):
        VideoDepth(PRESETS[preset]).init_states(1, height, width)


def test_states_of_another_network_or_size_are_refused_by_name():
    model = VideoDepth(PRESETS["tiny"])
    states = model.init_states(1, HEIGHT, WIDTH)
    frame = clip_of(1)[:, 0]
    with pytest.raises(ValueError, match=r"missing or unknown layer_3\.0\.ssm"):
        model.step(frame, {k: v for k, v in states.items() if k != "layer_3.0.ssm"})
    with pytest.raises(ValueError, match=r"state 'layer_2\.0\.ssm' has shape"):
        model.step(frame, model.init_states(1, 28, WIDTH))


def test_a_frozen_config_round_trips_through_a_dict():
    assert all(NetworkConfig.from_dict(config.to_dict()) == config for config in PRESETS.values())


def test_unknown_names_in_a_config_are_refused():
    for wrong in ({"encoder": "huge"}, {"head": "lstm"}, {"taps": ("layer_9",)}):
        with pytest.raises(ValueError, match="there are"):
            NetworkConfig.from_dict({**PRESETS["tiny"].to_dict(), **wrong})
    with pytest.raises(ValueError, match="unknown network setting 'colour'"):
        NetworkConfig.from_dict({**PRESETS["tiny"].to_dict(), "colour": 1})


@pytest.mark.parametrize("preset", ["tiny", "vda-small-causal"])
def test_a_network_learns_after_it_has_been_used(preset):
    """Nothing it keeps from inference mode gets in the way of gradients."""
    model = trained_like(PRESETS[preset])
    clip = clip_of()[:, :5]
    with torch.inference_mode():
        before, _ = model(clip)
    depth, _ = model(clip)
    depth.sum().backward()
    torch.testing.assert_close(depth.detach(), before)
    model.zero_grad()


@torch.no_grad()
def test_observing_shows_every_block_s_queries_and_keys():
    model = VideoDepth(PRESETS["tiny"]).eval()
    seen = []
    images = clip_of().flatten(0, 1)
    maps = model.encode(images, Observer(seen.append))
    assert all(torch.equal(a, b) for a, b in zip(maps, model.encode(images), strict=True))
    told = [(layer, "local", part) for layer in range(12) for part in ("query", "key")]
    assert [(one.layer, one.kind, one.part) for one in seen] == told
    tokens = model.encoder.embed((images - model.mean) / model.std, model.encoder.positions((3, 4)))
    for query, key, block in zip(seen[::2], seen[1::2], model.encoder.blocks, strict=True):
        assert query.values.shape == (len(images), 3, 1 + 3 * 4, 64)
        torch.testing.assert_close(query.values, block.attn.queries(block.norm1(tokens)))
        torch.testing.assert_close(key.values, block.attn.keys_and_values(block.norm1(tokens))[0])
        tokens = block(tokens)
    seen.clear()
    model(clip_of(), observe=Observer(seen.append, ("output",), layers=(11,)))
    torch.testing.assert_close(seen[0].values, tokens)
