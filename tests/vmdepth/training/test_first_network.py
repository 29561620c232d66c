"""What a student starts from: an encoder of Depth Anything 3 is taken over whole, and stays as it is unless told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import vmdepth
from vmdepth import checkpoint
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.motion.motion_head import MotionSettings
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.presets import MONO
from vmdepth.networks.observer import Observer
from vmdepth.networks.one_view_encoder import MONO_NAME, OneViewEncoder, lent_by
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.step_graph import StepGraph
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.settings.parsing import parse_settings
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import encoder_stays, first_network, freeze
from vmdepth.training.trainer import Trainer
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

SMALL = TrainSettings(preset="small", size="28x42", clip_length=2, batch=1, warmup=1, steps=1, device="cpu",
                      validate_every=0)  # fmt: skip


@pytest.fixture(scope="module")
def views(da3):
    return vmdepth.load(da3)


@pytest.fixture(scope="module")
def student(da3):
    return first_network(replace(SMALL, init=str(da3))).eval()


def pictures(count=3):
    return torch.rand(count, 3, 28, 42, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_students_maps_are_the_taps_of_every_picture_alone(views, student):
    """As `AnyViewDepth` sees them: what its decoder is given of one view."""
    expected = []
    hook = views.decoder.norm.register_forward_pre_hook(lambda _, given: expected.append(given[0]))
    for picture in pictures():
        views(picture[None, None])
    hook.remove()
    maps = student.encode(pictures())
    assert [tuple(one.shape) for one in maps] == [(3, 6, 768)] * 4
    for level, one in enumerate(maps):
        torch.testing.assert_close(one, torch.cat(expected[level::4]), rtol=0, atol=1e-5)


@torch.no_grad()
def test_watched_or_not_the_maps_are_the_same(student):
    seen = []
    watched = student.encode(pictures(), observe=Observer(seen.append, ("query",)))
    torch.testing.assert_close(watched, student.encode(pictures()), rtol=0, atol=1e-5)
    assert sorted({one.layer for one in seen}) == list(range(12))
    assert {(one.kind, one.values.shape) for one in seen if one.layer == 5} == {("global", (3, 6, 7, 64))}


@torch.no_grad()
def test_a_motion_head_is_left_behind(tmp_path):
    """It would no longer fit once the maps that it sees learn."""
    taught = VideoDepth(replace(PRESETS["edge"], motion=MotionSettings(width=8))).eval()
    checkpoint.save(tmp_path / "moving.safetensors", taught, "moving")
    network = first_network(replace(SMALL, preset="edge", size="32x48", init=str(tmp_path / "moving.safetensors")))
    assert network.config == PRESETS["edge"]
    assert all(parameter.requires_grad for parameter in network.parameters())
    clip = torch.rand(1, 2, 3, 32, 48)
    torch.testing.assert_close(network.eval()(clip)[0], taught(clip)[0], rtol=0, atol=0)


def test_memory_saved_changes_no_gradient(student):
    gradients = []
    for saved in (False, True):
        student.zero_grad()
        student.encoder.checkpointing = saved
        sum(one.square().mean() for one in student.encode(pictures())).backward()
        gradients.append(student.encoder.blocks[3].attn.qkv.weight.grad.clone())
    student.encoder.checkpointing = False
    student.zero_grad()
    torch.testing.assert_close(*gradients)


@torch.no_grad()
def test_it_is_saved_and_steps_like_any_student(student, tmp_path):
    checkpoint.save(tmp_path / "student.safetensors", student, "student")
    model = vmdepth.load(tmp_path / "student.safetensors")
    assert model.config.encoder == "da3-small"
    clip = pictures(4)[None]
    depth, _ = model(clip)
    states = None
    for number in range(4):
        one, states = model.step(clip[:, number], states)
        torch.testing.assert_close(one, depth[:, number], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_folded_to_what_is_exported_it_is_the_same(student):
    frame = (pictures(1).permute(0, 2, 3, 1) * 255).round().byte()
    states = student.init_states(1, 28, 42)
    outputs, _ = StepGraph(student, 28, 42)(frame, states)
    depth, _ = student.step(frame.permute(0, 3, 1, 2) / 255, states)
    torch.testing.assert_close(outputs["depth"], depth[:, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_it_is_exported_like_any_student(student, tmp_path):
    export_step_graph(student, tmp_path / "small.onnx", 28, 42, frames=4)
    frame = (pictures(1).permute(0, 2, 3, 1) * 255).round().byte()
    with OnnxSession(tmp_path / "small.onnx") as session, torch.no_grad():
        np.copyto(session.frame, frame.numpy())
        depth, _ = student.step(frame.permute(0, 3, 1, 2) / 255)
        np.testing.assert_allclose(session.step()["depth"], depth[:, 0].numpy(), rtol=1e-4, atol=1e-4)


def test_a_network_for_single_images_lends_its_encoder_too():
    """Names and shapes alone: the large network itself is no matter of a quick test."""
    with torch.device("meta"):
        network = VideoDepth(replace(PRESETS["large"], encoder=MONO_NAME))
        name, weights = lent_by(MonoDepth(MONO))
    assert name == MONO_NAME and network.encoder.norm.eps == 1e-5
    assert {key: value.shape for key, value in weights.items()} == {
        key: value.shape for key, value in network.encoder.state_dict().items()
    }


def test_another_size_of_encoder_is_refused(da3):
    with pytest.raises(InputError, match=r"encoder of Depth Anything 3 small, for preset small, .*not 'tiny'"):
        first_network(replace(SMALL, preset="tiny", init=str(da3)))


def test_frozen_blocks_take_the_camera_token_along(student):
    freeze(student.encoder, 2)
    assert isinstance(student.encoder, OneViewEncoder) and not student.encoder.camera_token.requires_grad
    assert student.encoder.blocks[2].attn.qkv.weight.requires_grad
    student.requires_grad_()


def test_an_official_encoder_stays_as_it_is_unless_told(da3, tmp_path):
    ours = tmp_path / "ours.safetensors"
    checkpoint.save(ours, VideoDepth(replace(PRESETS["tiny"], head=NoHead(), taps=())), "tiny")
    for settings, stays in (
        ({"init": str(da3)}, True),
        ({"init": str(da3), "freeze_encoder": False}, False),
        ({"init": str(da3), "encoder_rate": 0.1}, False),
        ({"init": str(da3), "frozen_blocks": 4}, False),
        ({"init": str(ours)}, False),
        ({"init": str(ours), "freeze_encoder": True}, True),
        ({}, False),
    ):
        assert encoder_stays(replace(SMALL, **settings)) == stays, settings
    assert parse_settings("small", []).freeze_encoder is None
    assert parse_settings("small", ["freeze_encoder="]).freeze_encoder is None
    assert parse_settings("small", ["freeze_encoder=true"]).freeze_encoder is True


def test_training_leaves_that_encoder_as_it_is_and_resuming_too(da3, views, tmp_path):
    settings = replace(SMALL, init=str(da3))
    trainer = Trainer(settings, tmp_path / "run", resume=False)
    assert trainer.settings.freeze_encoder is True
    assert trainer.run(lambda _: None)
    _, lent = lent_by(views)
    learnt = vmdepth.load(tmp_path / "run" / "last.safetensors")
    for name, weight in learnt.encoder.state_dict().items():
        assert torch.equal(weight, lent[name]), name
    assert Trainer(settings, tmp_path / "run", resume=True).step == 1
    with pytest.raises(InputError, match="another freeze_encoder"):
        Trainer(replace(settings, freeze_encoder=False), tmp_path / "run", resume=True)
