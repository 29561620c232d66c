"""Training: it learns, it resumes exactly, it leaves what it promises in its folder."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import vmdepth
from vmdepth import checkpoint
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.losses.affine import affine_invariant_loss, affine_normalise
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import parameter_groups
from vmdepth.training.trainer import Trainer, train
from vmdepth_runtime.errors import InputError, WorkError

SMALL = TrainSettings(
    size="28x42",
    clip_length=3,
    batch=2,
    warmup=2,
    save_every=3,
    picture_every=3,
    validate_every=0,
    steps=6,
    device="cpu",
)


def weights(folder):
    return checkpoint.read_tensors(folder / "last.safetensors")[0]


def test_every_parameter_is_in_one_group_and_only_kernels_decay():
    model = VideoDepth(PRESETS["tiny"])
    groups = parameter_groups(model, weight_decay=0.1, heads_rate=1.0, encoder_rate=1.0)
    in_groups = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(in_groups) == sorted(id(parameter) for parameter in model.parameters())
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert id(model.encoder.pos_embed) not in decayed
    assert id(model.encoder.blocks[0].attn.qkv.weight) in decayed
    assert id(model.encoder.blocks[0].attn.qkv.bias) not in decayed


def test_temporal_heads_have_a_rate_of_their_own():
    model = VideoDepth(PRESETS["tiny"])
    rates = {id(p): group["rate"] for group in parameter_groups(model, 0.1, 20.0, 1.0) for p in group["params"]}
    for name, parameter in model.named_parameters():
        usual = 0.1 if name == "encoder.patch_embed.proj.weight" else 1.0
        assert rates[id(parameter)] == (20.0 if name.startswith("heads.") else usual)


@pytest.mark.parametrize("preset", ["edge", "tiny"])
def test_an_encoder_has_a_rate_of_its_own(preset):
    model = VideoDepth(PRESETS[preset])
    rates = {id(p): group["rate"] for group in parameter_groups(model, 0.1, 1.0, 0.1) for p in group["params"]}
    for name, parameter in model.named_parameters():
        slow = 0.1 if name == "encoder.patch_embed.proj.weight" else 1.0
        assert rates[id(parameter)] == pytest.approx(slow * (0.1 if name.startswith("encoder.") else 1.0))


@torch.no_grad()
def held_out_loss(model):
    clips = render_clips(range(32), 2, 28, 42)
    truth, everywhere = 1 / clips.depth, torch.ones_like(clips.depth, dtype=torch.bool)
    depth, _ = model.eval()(clips.rgb)
    return affine_invariant_loss(affine_normalise(depth, everywhere), affine_normalise(truth, everywhere), everywhere)


def test_it_learns_and_the_folder_holds_what_it_should(tmp_path):
    settings = TrainSettings(
        size="28x42", clip_length=2, batch=4, warmup=5, steps=100, save_every=50, picture_every=50, device="cpu"
    )
    trainer = Trainer(settings, tmp_path, resume=False)
    before = held_out_loss(trainer.model)
    trainer.model.train()
    reports = []
    assert trainer.run(reports.append)
    assert [report.step for report in reports] == list(range(10, 101, 10))
    trained = vmdepth.load(tmp_path / "last.safetensors")
    assert trained.name == "tiny"
    after = held_out_loss(trained)
    assert after < 0.85 * before
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == 100
    assert [p.name for p in sorted((tmp_path / "pictures").iterdir())] == ["step_000050.png", "step_000100.png"]
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert not list(tmp_path.glob("*.part"))


def test_what_the_command_does_is_a_function_anyone_can_call(tmp_path):
    settings, told = replace(SMALL, steps=2, validate_every=2), []
    assert train(
        settings,
        tmp_path / "run",
        report=lambda progress: told.append(progress.step),
        stepped=lambda step, _: told.append(f"stepped {step}"),
        validating=lambda: told.append("validating"),
    )
    assert told == ["stepped 1", "validating", 2, "stepped 2"]
    assert vmdepth.load(tmp_path / "run" / "last.safetensors").name == "tiny"
    begun = []
    assert train(settings, tmp_path / "run", resume=True, begun=lambda trainer: begun.append(trainer.step))
    assert begun == [2]


def test_resumed_weights_are_bit_equal_to_uninterrupted_ones(tmp_path):
    Trainer(SMALL, tmp_path / "whole", resume=False).run(lambda _: None)

    class Interrupted(Exception):
        pass

    trainer = Trainer(SMALL, tmp_path / "parts", resume=False)
    honest = trainer.save

    def save_once_then_die():
        honest()
        raise Interrupted

    trainer.save = save_once_then_die
    with pytest.raises(Interrupted):
        trainer.run(lambda _: None)
    assert trainer.step == 3
    Trainer(SMALL, tmp_path / "parts", resume=True).run(lambda _: None)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_curves_of_a_resumed_run_have_every_step_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = replace(SMALL, steps=40, save_every=20, picture_every=20, size="28x28", clip_length=1, batch=1)
    trainer = Trainer(settings, tmp_path, resume=False)
    honest = trainer.save
    trainer.save = lambda: (honest(), os.kill(os.getpid(), signal.SIGTERM))  # stops after the save of step 20
    assert not trainer.run(lambda _: None)
    assert Trainer(settings, tmp_path, resume=True).run(lambda _: None)
    curves = EventAccumulator(str(tmp_path)).Reload()
    steps = [event.step for event in curves.Scalars("loss/depth")]
    assert sorted(set(steps)) == steps and {10, 20, 30, 40} <= set(steps)
    assert [event.step for event in curves.Images("colour, truth, student")] == [20, 40]


def test_a_loss_that_is_not_finite_is_said_and_not_saved(tmp_path):
    settings = replace(SMALL, learning_rate=1e6, warmup=0, steps=50, save_every=3, gradient_clip=1e9)
    with pytest.raises(WorkError, match="start anew with a lower learning_rate"):
        Trainer(settings, tmp_path, resume=False).run(lambda _: None)
    if (tmp_path / "last.safetensors").exists():
        assert all(tensor.isfinite().all() for tensor in weights(tmp_path).values())


def test_what_ended_before_its_first_save_can_be_started_again(tmp_path):
    Trainer(SMALL, tmp_path, resume=False)
    with pytest.raises(InputError, match="leave --resume out"):
        Trainer(SMALL, tmp_path, resume=True)
    assert Trainer(SMALL, tmp_path, resume=False).step == 0


def test_another_run_s_folder_is_refused(tmp_path):
    Trainer(SMALL, tmp_path, resume=False).save()
    with pytest.raises(InputError, match="holds a run already"):
        Trainer(SMALL, tmp_path, resume=False)
    with pytest.raises(InputError, match="another batch"):
        Trainer(TrainSettings(**{**SMALL.to_dict(), "batch": 1}), tmp_path, resume=True)
    with pytest.raises(InputError, match="no run to resume"):
        Trainer(SMALL, tmp_path / "elsewhere", resume=True)


def test_init_starts_from_the_weights_of_a_checkpoint(tmp_path):
    first = Trainer(SMALL, tmp_path / "first", resume=False)
    first.save()
    settings = TrainSettings(**{**SMALL.to_dict(), "init": str(tmp_path / "first" / "last.safetensors"), "seed": 9})
    second = Trainer(settings, tmp_path / "second", resume=False)
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match="is not a 'small' network"):
        Trainer(TrainSettings(**{**settings.to_dict(), "preset": "small"}), tmp_path / "third", resume=False)


def test_official_checkpoints_are_what_training_starts_from(tmp_path, official_weights):
    still, video = tmp_path / "depth_anything_v2_vits.pth", tmp_path / "video_depth_anything_vits.pth"
    torch.save(official_weights("da2_vits"), still)
    torch.save(official_weights("vda_vits"), video)

    def start(folder, **settings):
        return Trainer(TrainSettings(**{**SMALL.to_dict(), **settings}), tmp_path / folder, resume=False).model

    causal = start("causal", preset="vda-small-causal", init=str(video), head_settings={"window": 8})
    assert causal.config.head == AttentionSettings("causal", 8)
    given = vmdepth.load(video).state_dict()
    assert all(torch.equal(weight, given[name]) for name, weight in causal.state_dict().items())

    mamba, per_frame = start("mamba", preset="small", init=str(still)).eval(), vmdepth.load(still)
    assert mamba.config.head == MambaSettings()
    clip = torch.rand(1, 2, 3, 28, 42)
    with torch.no_grad():
        torch.testing.assert_close(mamba(clip)[0], per_frame(clip)[0])
    with pytest.raises(InputError, match="is not a 'tiny' network"):
        start("tiny", init=str(still))
    torch.save(official_weights("da2_vits"), tmp_path / "depth_anything_v2_metric_vkitti_vits.pth")
    with pytest.raises(InputError, match="gives metres"):
        start("metric", preset="small", init=str(tmp_path / "depth_anything_v2_metric_vkitti_vits.pth"))


def vmdepth_train(*arguments):
    return [sys.executable, "-m", "vmdepth.train", *map(str, arguments)]


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """kill -9 at any moment: what was saved last is whole, and going on from there ends where nothing was killed."""
    settings = ["size=28x42", "clip_length=2", "batch=2", "steps=40", "save_every=4", "warmup=2", "device=cpu"]
    settings += ["p_single_frame=0.4", "chunk=1", "picture_every=1000"]
    subprocess.run(vmdepth_train("tiny", *settings, "--out", tmp_path / "whole"), check=True, capture_output=True)
    out = tmp_path / "killed"
    process = subprocess.Popen(
        vmdepth_train("tiny", *settings, "--out", out), stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (out / "train_state.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.Random().uniform(0, 0.4))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL  # it had not come to its end
    subprocess.run(vmdepth_train("tiny", *settings, "--out", out, "--resume"), check=True, capture_output=True)
    for file in ("last.safetensors", "train_state.safetensors"):
        whole, parts = (checkpoint.read_tensors(tmp_path / run / file)[0] for run in ("whole", "killed"))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_run_saves_and_the_command_resumes(number, tmp_path):
    settings = ["size=28x42", "clip_length=2", "batch=2", "save_every=1000", "device=cpu", "steps=100000"]
    out = tmp_path / "run"
    process = subprocess.Popen(
        vmdepth_train("tiny", *settings, "--out", out), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("events.*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    os.killpg(process.pid, number)  # as a terminal or a service manager does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"go on with: vmdepth-train --resume {out}" in errors
    assert "Traceback" not in errors
    assert vmdepth.load(out / "last.safetensors")


@pytest.mark.parametrize(
    "arguments",
    [
        ["tiny", "stepz=1"],
        ["huge"],
        ["tiny", "init=none.safetensors"],
        ["tiny", "device=banana"],
        ["tiny", "seed=-1"],
        ["tiny", "learning_rate=inf"],
        ["tiny", "head=attention", "window=40"],
        ["vda-small-causal", "temporal=bidirectional", "clip_length=33"],
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_2(arguments, tmp_path, call_command):
    out = tmp_path / "run"
    done = call_command("vmdepth.train", *arguments, "--out", out)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_a_frozen_encoder_stays_as_it_is_to_the_bit(tmp_path):
    trainer = Trainer(replace(SMALL, freeze_encoder=True), tmp_path / "run", resume=False)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.run(lambda _: None)
    after = vmdepth.load(tmp_path / "run" / "last.safetensors").state_dict()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) == name.startswith("encoder."), name


@pytest.mark.parametrize(
    ("preset", "size", "begin"),
    [
        ("edge", "32x48", ("encoder.stem.", "encoder.blocks.0.", "encoder.blocks.1.")),
        (
            "tiny",
            "28x42",
            ("encoder.patch_embed.", "encoder.cls_", "encoder.pos_", "encoder.blocks.0.", "encoder.blocks.1."),
        ),
    ],
)
def test_the_first_blocks_stay_as_they_are_and_the_others_learn(preset, size, begin, tmp_path):
    settings = replace(SMALL, preset=preset, size=size, frozen_blocks=2, steps=2)
    trainer = Trainer(settings, tmp_path / "run", resume=False)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.run(lambda _: None)
    after = weights(tmp_path / "run")
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) == name.startswith(begin), name


def test_a_world_papered_with_photographs_is_what_it_learns_from(tmp_path):
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "red.png"), np.full((40, 40, 3), (0, 0, 250), np.uint8))
    plain, papered = (
        Trainer(replace(SMALL, textures=textures, augment=False), tmp_path / f"run{number}", resume=False)
        .plan()
        .batch(0, torch.device("cpu"))
        for number, textures in enumerate(("", str(tmp_path / "pictures")))
    )
    assert torch.equal(plain.inverse_depth, papered.inverse_depth)
    assert (papered.rgb - plain.rgb).abs().mean() > 0.01


def test_attention_over_time_trains_causally_and_streams(tmp_path):
    settings = TrainSettings("vda-small-causal", size="28x42", clip_length=3, batch=1, steps=2, warmup=1, device="cpu")
    Trainer(settings, tmp_path, resume=False).run(lambda _: None)
    model = vmdepth.load(tmp_path / "last.safetensors")
    assert model.config.head.temporal == "causal"
    clip = torch.rand(1, 3, 3, 28, 42)
    with torch.no_grad():
        depth, _ = model(clip)
        states, steps = None, []
        for frame in clip.unbind(1):
            one, states = model.step(frame, states)
            steps.append(one)
    torch.testing.assert_close(torch.stack(steps, 1), depth, rtol=1e-4, atol=1e-5)
