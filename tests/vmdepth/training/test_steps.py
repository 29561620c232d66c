"""One step of training: pieces of a clip, several processes, single pictures, what is saved as the model."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from vmdepth import checkpoint
from vmdepth.training.objective import NAMES, losses
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import doubt_of_compiling
from vmdepth.training.trainer import Trainer
from vmdepth_runtime.errors import InputError, WorkError

SMALL = TrainSettings(
    size="28x42", clip_length=4, batch=2, warmup=2, steps=6, validate_every=0, device="cpu", augment=False
)


def gradients(trainer):
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


def awakened(trainer):
    """With heads that do something: untrained ones add nothing, and their states would not matter."""
    generator = torch.Generator().manual_seed(3)
    for head in trainer.model.heads.values():
        torch.nn.init.normal_(head.proj_out.weight, std=0.2, generator=generator)
    return trainer


@pytest.fixture
def trainer(tmp_path):
    return awakened(Trainer(SMALL, tmp_path / "run", resume=False))


@pytest.fixture
def batch(trainer):
    return trainer.plan().batch(0, torch.device("cpu"))


def test_a_chunk_as_long_as_the_clip_is_the_unchunked_clip(trainer, batch, tmp_path):
    chunked = awakened(Trainer(replace(SMALL, chunk=4), tmp_path / "chunked", resume=False))
    chunked.model.load_state_dict(trainer.model.state_dict())
    # The plain clip, without any of the trainer's loop.
    summaries = {}
    depth, _ = trainer.model(batch.rgb, trainer.first_states(batch), summaries.__setitem__)
    loss, _ = losses(SMALL, depth, batch, summaries)
    loss.backward()
    chunked.backward(batch)
    expected, got = gradients(trainer), gradients(chunked)
    assert expected.keys() == got.keys()
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        assert (gradient - got[name]).abs().max() <= 1e-5 * max(scale, 1), name


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_with_carried_states_see_the_same_depth(trainer, batch, chunk):
    with torch.no_grad():
        whole, end = trainer.model(batch.rgb, trainer.first_states(batch))
        states, parts = trainer.first_states(batch), []
        for first in range(0, 4, chunk):
            depth, states = trainer.model(batch.piece(first, first + chunk).rgb, states)
            parts.append(depth)
    scale = float(whole.max() - whole.min())
    assert (torch.cat(parts, dim=1) - whole).abs().max() <= 1e-5 * max(scale, 1)
    for name, state in end.items():
        torch.testing.assert_close(states[name], state, rtol=1e-5, atol=1e-5)


def test_chunks_carry_states_but_no_gradient(trainer, batch, tmp_path):
    """With one frame per chunk the first frame learns only from its own loss: not as when the clip is one."""
    chunked = awakened(Trainer(replace(SMALL, chunk=1), tmp_path / "chunked", resume=False))
    chunked.model.load_state_dict(trainer.model.state_dict())
    trainer.backward(batch)
    terms = chunked.backward(batch)
    assert terms[NAMES.index("temporal")] == 0  # no two frames in one chunk
    assert not torch.allclose(
        gradients(trainer)["heads.layer_3.proj_in.weight"], gradients(chunked)["heads.layer_3.proj_in.weight"]
    )


def test_recomputed_blocks_give_the_same_gradients(trainer, batch, tmp_path):
    recomputing = awakened(Trainer(replace(SMALL, checkpointing=True), tmp_path / "recomputing", resume=False))
    recomputing.model.load_state_dict(trainer.model.state_dict())
    trainer.backward(batch)
    recomputing.backward(batch)
    for name, gradient in gradients(trainer).items():
        torch.testing.assert_close(gradients(recomputing)[name], gradient, rtol=1e-5, atol=1e-6)


def test_bf16_is_near_fp32_and_keeps_states_in_fp32(trainer, batch, tmp_path):
    half = awakened(Trainer(replace(SMALL, precision="bf16"), tmp_path / "half", resume=False))
    half.model.load_state_dict(trainer.model.state_dict())
    expected, got = trainer.backward(batch), half.backward(batch)
    torch.testing.assert_close(got[0], expected[0], rtol=0.05, atol=0)
    assert not torch.equal(got, expected)
    with torch.autocast("cpu", torch.bfloat16):
        _, states = half.model(batch.rgb)
    assert {state.dtype for state in states.values()} == {torch.float32}


def test_bf16_keeps_rings_of_attention_in_fp32(tmp_path):
    model = Trainer(replace(SMALL, preset="vda-small-causal"), tmp_path / "run", resume=False).model
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, states = model(torch.rand(1, 2, 3, 28, 42))
    assert {state.dtype for state in states.values()} == {torch.float32}


def test_compiled_it_gives_the_same_gradients(trainer, batch, tmp_path, monkeypatch):
    # The graph is captured as for any back end; this one runs it without a C++ compiler.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = awakened(Trainer(replace(SMALL, compile=True), tmp_path / "compiled", resume=False))
    compiled.model.load_state_dict(trainer.model.state_dict())
    terms = trainer.backward(batch)
    torch.testing.assert_close(compiled.backward(batch), terms, rtol=1e-4, atol=1e-5)
    assert terms[NAMES.index("smoothness")] > 0
    for name, gradient in gradients(trainer).items():
        torch.testing.assert_close(gradients(compiled)[name], gradient, rtol=1e-4, atol=1e-5)


def test_where_compiling_gave_wrong_gradients_the_run_says_so():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for preset in ("tiny", "vda-small-causal", "da3-small-causal"):
        settings = TrainSettings(preset=preset, compile=True)
        assert "leave it out" in doubt_of_compiling(settings, cpu)
        assert doubt_of_compiling(settings, cuda) == doubt_of_compiling(TrainSettings(preset=preset), cpu) == ""
    assert doubt_of_compiling(TrainSettings(preset="edge", compile=True), cpu) == ""


def test_single_pictures_take_the_place_of_clips_as_often_as_asked(tmp_path):
    trainer = Trainer(replace(SMALL, p_single_frame=0.5), tmp_path / "run", resume=False)
    shapes = [tuple(trainer.plan().batch(n, torch.device("cpu")).rgb.shape[:2]) for n in range(12)]
    assert set(shapes) == {(8, 1), (2, 4)}
    single = trainer.plan().batch(shapes.index((8, 1)), torch.device("cpu"))
    assert len(set(single.videos)) == 8  # as many worlds as pictures
    terms = dict(zip(NAMES, trainer.backward(single).tolist(), strict=True))
    assert terms["temporal"] == terms["smoothness"] == 0 < terms["depth"]


def test_the_average_of_weights_is_the_model_that_is_saved(tmp_path):
    settings = replace(SMALL, ema=0.9, steps=3)
    trainer = Trainer(settings, tmp_path / "run", resume=False)
    name = "decoder.scratch.output_conv1.weight"
    parameter = dict(trainer.model.named_parameters())[name]
    expected = parameter.detach().clone()
    for number in range(3):
        trainer.train_step(trainer.plan().batch(number, torch.device("cpu")))
        decay = min(0.9, (2 + number) / (11 + number))
        expected = decay * expected + (1 - decay) * parameter.detach()
    trainer.save()
    saved = checkpoint.read_tensors(tmp_path / "run" / "last.safetensors")[0][name]
    torch.testing.assert_close(saved, expected)
    assert not torch.allclose(saved, parameter)
    resumed = Trainer(settings, tmp_path / "run", resume=True)
    assert torch.equal(dict(resumed.model.named_parameters())[name], parameter)
    assert torch.equal(resumed.average[name], saved)


def test_no_average_saves_the_last_weights(tmp_path):
    trainer = Trainer(replace(SMALL, ema=0.0), tmp_path / "run", resume=False)
    trainer.train_step(trainer.plan().batch(0, torch.device("cpu")))
    trainer.save()
    saved = checkpoint.read_tensors(tmp_path / "run" / "last.safetensors")[0]
    assert all(torch.equal(saved[name], parameter) for name, parameter in trainer.model.named_parameters())


def test_out_of_memory_names_what_helps(trainer, batch, monkeypatch):
    def too_big(*_):
        torch.empty(1 << 60)

    monkeypatch.setattr(trainer.model, "encode", too_big)
    with pytest.raises(WorkError, match=r"batch.*half.*chunk=2.*checkpointing=true"):
        trainer.train_step(batch)


def torchrun(processes, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port=0"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "vmdepth.train", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_two_processes_train_what_one_does(tmp_path):
    settings = ["size=28x42", "clip_length=2", "batch=4", "steps=5", "warmup=2", "chunk=1", "p_single_frame=0.3"]
    # Adam divides a gradient by its own size, so a rounding error of a vanishing one moves its weight by as much as the
    # learning rate allows.
    settings += ["device=cpu", "ema=0", "learning_rate=3e-4"]
    for count in (1, 2):
        done = torchrun(count, "tiny", *settings, "--out", tmp_path / str(count))
        assert done.returncode == 0, done.stderr
    one, two = (checkpoint.read_tensors(tmp_path / str(count) / "last.safetensors")[0] for count in (1, 2))
    start = Trainer(TrainSettings(size="28x42", device="cpu"), tmp_path / "start", resume=False).model.state_dict()
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 5e-4  # it has moved
    for name, tensor in one.items():
        assert (tensor - two[name]).abs().max() <= 1e-5, name
    assert json.loads((tmp_path / "2" / "settings.json").read_text())["batch"] == 4


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    trainer = Trainer(SMALL, tmp_path / "run", resume=False)
    trainer.processes.count = 3
    with pytest.raises(InputError, match="3 processes cannot share"):
        trainer._check_share()
