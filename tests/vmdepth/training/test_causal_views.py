"""Depth Anything 3 learns the causal mask from the network that sees all views, and what is saved is what streams."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import vmdepth
from vmdepth import checkpoint
from vmdepth.evaluation.evaluator import open_models
from vmdepth.evaluation.recording import Streamed
from vmdepth.evaluation.whole_clip import ClipNetwork
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.presets import CAUSAL_VIEW_PRESETS, AnyViewConfig, CausalViewsConfig
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.offline import open_offline
from vmdepth.train import command as train_command
from vmdepth.training.settings.parsing import in_form, parse_settings
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import choose_what_learns, encoder_stays, first_network, parameter_groups
from vmdepth.training.students import STUDENTS
from vmdepth.training.teachers import Teacher
from vmdepth.training.trainer import Trainer
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.info.models import model_facts
from vmdepth_export.parity.cli import command as parity
from vmdepth_runtime.errors import InputError

CPU = torch.device("cpu")
NAME = "da3-small-causal"
TINY = CausalViewsConfig.of(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4), 3)
SMALL = TrainSettings(
    preset=NAME, size="28x42", clip_length=4, batch=2, warmup=2, steps=4, validate_every=0, device="cpu",
)  # fmt: skip


@pytest.fixture
def tiny(monkeypatch):
    """The preset with a network of another size, and a window shorter than its clips."""
    monkeypatch.setitem(STUDENTS, NAME, TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of the tiny network, with the losses on its way."""
    folder, losses = tmp_path_factory.mktemp("run"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STUDENTS, NAME, TINY)
        settings = replace(SMALL, steps=30, save_every=30, picture_every=30, validate_every=30, ema=0.5)
        Trainer(settings, folder, resume=False).run(lambda progress: losses.append(progress.losses["depth"]))
    return folder, losses


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    wide = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (32, 80, 3), np.uint8), (9, 9), 0)
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), wide[:, number : number + 48])
    return folder


def clip(frames=4):
    return torch.rand(1, frames, 3, 28, 42, generator=torch.Generator().manual_seed(0))


def test_it_learns_and_keeps_its_best(run):
    folder, losses = run
    assert losses[-1] < 0.8 * losses[0]
    assert (folder / "pictures" / "step_000030.png").is_file()
    assert vmdepth.load(folder / "best.safetensors").name == NAME


@torch.no_grad()
def test_what_is_saved_is_what_was_trained_with_its_window(run):
    path = run[0] / "last.safetensors"
    model = vmdepth.load(path)
    assert isinstance(model, CausalViews) and model.config == TINY and not model.training
    assert vmdepth.load(path, window=5).window == 5
    assert vmdepth.load(path, temporal="causal").window == 3
    whole = vmdepth.load(path, temporal="bidirectional")
    assert isinstance(whole, AnyViewDepth)
    torch.testing.assert_close(whole(clip(), reference="first").depth, model.whole(clip()).depth)
    (views, _), states = model(clip()), None
    for number, frame in enumerate(clip().unbind(1)):
        view, states = model.step(frame, states)
        torch.testing.assert_close(view.depth, views.depth[:, number : number + 1], rtol=1e-4, atol=1e-4)


def test_its_graph_agrees_and_proves_itself_against_the_checkpoint(run, tmp_path):
    path, graph = run[0] / "last.safetensors", tmp_path / "causal.onnx"
    assert export_step_graph(checkpoint.load_stepping(path), graph, 28, 42, frames=5).agrees
    done = CliRunner().invoke(parity, [str(path), str(graph), "--frames", "5"])
    assert done.exit_code == 0, done.output
    assert ("window", "3") in model_facts(path)


def test_without_the_mask_it_goes_over_whole_videos_and_teaches(run):
    path = run[0] / "last.safetensors"
    frames = (clip()[0].permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    whole = vmdepth.load(path, temporal="bidirectional")
    with torch.no_grad():
        expected = whole(torch.from_numpy(frames).permute(0, 3, 1, 2)[None] / 255).depth
    session = open_offline(path, (28, 42), (28, 42), device="cpu")
    session.begin((frame, False) for frame in frames)
    depths = []
    for frame in frames:
        session.frame[0] = frame
        depths.append(session.step()["depth"][0].copy())
    np.testing.assert_allclose(np.stack(depths), expected[0], rtol=1e-4)
    torch.testing.assert_close(Teacher(path, CPU)(clip())[:, :, 0], 1 / whole(clip()).depth, rtol=1e-4, atol=0)


def test_evaluation_streams_it_or_takes_the_mask_off(run):
    path = run[0] / "last.safetensors"
    assert isinstance(open_models([path], (28, 42))[0][0], Streamed)
    assert isinstance(open_models([path], (28, 42), causal=True)[0][0], Streamed)
    assert isinstance(open_models([path], (28, 42), causal=False)[0][0], ClipNetwork)


def taken(trainer, last):
    """Steps as a run takes them, up to the last, without a process beside that makes its clips."""
    while trainer.step < last:
        trainer.train_step(trainer.labelled(trainer.plan().batch(trainer.step, CPU)))
    return trainer


def test_resumed_weights_are_bit_equal_to_uninterrupted_ones(tiny, tmp_path):
    settings = replace(SMALL, chunk=3)  # rings are carried on from piece to piece
    whole = taken(Trainer(settings, tmp_path / "whole", resume=False), 4)
    taken(Trainer(settings, tmp_path / "parts", resume=False), 2).save()
    parts = taken(Trainer(settings, tmp_path / "parts", resume=True), 4)
    assert all(torch.equal(tensor, parts.average[name]) for name, tensor in whole.average.items())
    assert all(torch.equal(tensor, parts.model.state_dict()[name]) for name, tensor in whole.model.state_dict().items())


@torch.no_grad()
def test_the_teacher_sees_the_future_and_the_student_does_not(da3):
    student, teacher = first_network(replace(SMALL, init=str(da3))), Teacher(da3, CPU)
    later = clip()
    later[:, 3] = 0.5
    torch.testing.assert_close(student(later)[0].depth[:, :3], student(clip())[0].depth[:, :3], rtol=1e-5, atol=0)
    assert ((teacher(later) - teacher(clip()))[:, :3].abs().amax(dim=(0, 2, 3, 4)) > 1e-6).all()


def test_from_an_official_file_what_the_mask_changes_learns_and_what_reads_it(da3, footage, tmp_path):
    settings = replace(SMALL, init=str(da3), teacher=str(da3), data=str(footage), steps=1, clip_length=3, batch=1)
    trainer = Trainer(settings, tmp_path, resume=False)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    given = vmdepth.load(da3).state_dict()
    assert all(torch.equal(tensor, given[name]) for name, tensor in before.items())
    taken(trainer, 1).save()
    after = vmdepth.load(tmp_path / "last.safetensors").state_dict()
    learns = ("decoder.", *(f"encoder.blocks.{block}." for block in (5, 7, 9, 11)))
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) == (not name.startswith(learns) or "_aux" in name), name
    assert json.loads((tmp_path / "settings.json").read_text())["freeze_encoder"] is True


def test_rates_are_those_of_what_sees_others_and_of_what_sees_a_frame_alone(tiny):
    model = first_network(SMALL)
    choose_what_learns(model, SMALL)
    rates = {id(p): group["rate"] for group in parameter_groups(model, 0.1, 0.5, 0.1) for p in group["params"]}
    assert rates[id(model.encoder.blocks[7].attn.qkv.weight)] == 0.5
    assert rates[id(model.encoder.blocks[6].attn.qkv.weight)] == 0.1
    assert rates[id(model.decoder.projects[0].weight)] == 1
    assert id(model.camera_decoder.fc_fov[0].weight) not in rates


def test_its_own_checkpoint_goes_on_with_any_window(run, tiny):
    path = run[0] / "last.safetensors"
    again = replace(SMALL, init=str(path), head_settings={"window": 5})
    model = first_network(again)
    assert model.window == 5 and not encoder_stays(again)
    given = vmdepth.load(path).state_dict()
    assert all(torch.equal(tensor, given[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(InputError, match="is not a 'tiny' network"):
        first_network(replace(again, preset="tiny", head_settings={}))


def test_other_networks_are_no_start(run, tmp_path):
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(path, VideoDepth(PRESETS["tiny"]), "tiny")
    for init in (path, run[0] / "last.safetensors", tmp_path / "deeplab.tflite"):
        with pytest.raises(InputError, match=f"is not a '{NAME}' network"):
            first_network(replace(SMALL, init=str(init)))


@pytest.mark.parametrize("wrong", ["head=mamba2", "taps=layer_3", "d_state=16", "temporal=causal", "window=1"])
def test_settings_that_it_does_not_have(wrong, tmp_path):
    with pytest.raises(InputError, match=wrong.partition("=")[0]):
        parse_settings(NAME, [wrong])


def test_it_is_causal_by_name(tmp_path):
    assert in_form({"preset": NAME}, True, pytest.fail) == {"preset": NAME}
    done = CliRunner().invoke(train_command, [NAME, "--no-causal", "--out", str(tmp_path / "run")])
    assert "leave --no-causal out" in str(done.exception)


def test_forms_that_a_checkpoint_does_not_have(run):
    path = run[0] / "last.safetensors"
    for options, said in (
        ({"window": 1}, "2 frames or more"),
        ({"temporal": "streaming"}, "there are causal and bidirectional"),
        ({"temporal": "bidirectional", "window": 4}, "belongs to temporal='causal'"),
    ):
        with pytest.raises(InputError, match=said):
            vmdepth.load(path, **options)
    with pytest.raises(InputError, match="which is no step"):
        checkpoint.load_stepping(path, "bidirectional")


def test_settings_of_networks_go_through_json():
    for config in (TINY, *CAUSAL_VIEW_PRESETS.values()):
        assert CausalViewsConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
