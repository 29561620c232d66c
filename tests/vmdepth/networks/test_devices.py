"""Clip, steps, states and gradients of every head on a GPU are those of the CPU; no part of a network stays behind."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth

CONFIGS = {
    "mamba2": PRESETS["tiny"],
    "mamba2, feed forward": replace(PRESETS["tiny"], head=MambaSettings(temporal_width=48, feed_forward=2)),
    "mamba2 on mobilenet": PRESETS["edge"],
    "causal attention": PRESETS["vda-small-causal"],
    "attention, window of 4, on mobilenet": replace(PRESETS["edge"], head=AttentionSettings(window=4)),
    "none": replace(PRESETS["tiny"], head=NoHead()),
    "motion head": replace(PRESETS["edge"], motion=MotionSettings()),
}


@pytest.fixture(params=CONFIGS)
def model(request):
    """A network whose heads matter."""
    torch.manual_seed(0)
    model = VideoDepth(CONFIGS[request.param]).eval()
    for head in model.heads.values():
        torch.nn.init.normal_(head.proj_out.weight, std=0.3)
    return model


@pytest.fixture
def exact(monkeypatch):
    """Convolutions of float32 in float32: cuDNN takes TF32 unless told otherwise. (PyTorch's products do not.)"""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def clip_for(model, frames=6):
    size = 2 * model.config.stride, 3 * model.config.stride
    return torch.rand(2, frames, 3, *size, generator=torch.Generator().manual_seed(1))


def over(model, clip):
    """Everything that a clip gives, by name, on the clip's device."""
    depth, states = model(clip)
    return {"depth": depth, **states}


def stepwise(model, clip):
    """The same of steps over its frames."""
    depths, states = [], None
    for frame in clip.unbind(1):
        depth, states = model.step(frame, states)
        depths.append(depth)
    return {"depth": torch.stack(depths, 1), **states}


def assert_close(found, expected, tolerance):
    """In shares of the largest number of each."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        largest = tensor.abs().max().clamp_min(1e-3)
        assert (found[name].cpu() - tensor).abs().max() <= tolerance * largest, name


@pytest.mark.gpu
@torch.no_grad()
def test_clip_and_steps_on_a_gpu_are_those_of_the_cpu(model, exact):
    clip = clip_for(model)
    whole, steps = over(model, clip), stepwise(model, clip)
    model.cuda()
    assert_close(over(model, clip.cuda()), whole, 1e-4)
    assert_close(stepwise(model, clip.cuda()), steps, 1e-4)


@pytest.mark.gpu
def test_gradients_on_a_gpu_are_those_of_the_cpu(model, exact):
    def gradients(clip):
        model.zero_grad()
        depth, _ = model(clip)
        depth.square().mean().backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    clip = clip_for(model, frames=3)
    expected = gradients(clip)
    model.cuda()
    assert_close(gradients(clip.cuda()), expected, 1e-3)


@torch.no_grad()
def test_no_part_of_a_network_stays_on_the_cpu(model, monkeypatch):
    """On PyTorch's device without memory, which takes no tensor of another one beside its own, and has no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    clip = clip_for(model, frames=2)
    # Over a clip attention asks what the counter is, which is not known there.
    ways = (stepwise,) if model.config.head.kind == "attention" else (over, stepwise)
    expected = [way(model, clip) for way in ways]
    model.to("meta")
    for way, made in zip(ways, expected, strict=True):
        moved = way(model, clip.to("meta"))
        assert {tensor.device.type for tensor in moved.values()} == {"meta"}
        assert {name: tensor.shape for name, tensor in moved.items()} == {n: t.shape for n, t in made.items()}
