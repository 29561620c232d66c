"""Networks in float16 and bfloat16 as a whole: near float32, their recurrences in float32 as in step graphs."""

from dataclasses import replace

import pytest
import torch

from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth

FRAMES = 12
TOLERANCES = {torch.float16: 5e-3, torch.bfloat16: 2e-2}  # parity's, of the mean error as a share of the depth's range
CONFIGS = {
    "edge": replace(PRESETS["edge"], head=MambaSettings(temporal_width=32, feed_forward=2)),
    "edge that tells what moves": replace(PRESETS["edge"], motion=MotionSettings(width=8)),
    "vda-small-causal": replace(PRESETS["vda-small-causal"], encoder="tiny"),
}


@pytest.fixture(params=CONFIGS, scope="module")
def network(request):
    """Fresh heads are the identity, with which every comparison of states would pass."""
    torch.manual_seed(0)
    network = VideoDepth(CONFIGS[request.param]).eval().requires_grad_(False)
    for head in network.heads.values():
        torch.nn.init.normal_(head.proj_out.weight, std=0.2)
    return network


@pytest.fixture(scope="module")
def video(network):
    return torch.rand(1, FRAMES, 3, 2 * network.stride, 3 * network.stride)


@pytest.fixture(scope="module")
def expected(network, video):
    return network.clip(video)


def in_half(network, dtype):
    half = VideoDepth(network.config).eval().requires_grad_(False)
    half.load_state_dict(network.state_dict())
    return half.to(dtype)


def streamed(network, video):
    states, outputs = network.init_states(1, *video.shape[-2:]), []
    for frame in video.unbind(1):
        given, after = network.outputs(frame, states)
        states = network.written(states, after)
        outputs.append(given)
    return {name: torch.stack([given[name] for given in outputs], 1) for name in outputs[0]}, states


def error(got, expected):
    return float((got.float() - expected).abs().mean() / (expected.max() - expected.min()))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_clip_and_steps_are_near_float32(network, video, expected, dtype):
    half = in_half(network, dtype)
    depth, dynamic, _ = half.clip(video.to(dtype))
    steps, _ = streamed(half, video.to(dtype))
    assert depth.dtype == steps["depth"].dtype == dtype
    for got in (depth[:, :, 0], steps["depth"]):
        assert error(got, expected[0][:, :, 0]) <= TOLERANCES[dtype]
    if dynamic is not None:
        for got in (dynamic, steps["dynamic"]):
            assert (got.float() - expected[1]).abs().mean() <= TOLERANCES[dtype]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_what_adds_up_over_frames_is_float32_and_rings_are_half(network, video, expected, dtype):
    half = in_half(network, dtype)
    for _, states in (half.clip(video.to(dtype))[1:], streamed(half, video.to(dtype))):
        for name, state in states.items():
            assert state.dtype == (torch.float32 if half.ring_of(name) is None else dtype), name
