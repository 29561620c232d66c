"""While it learns, a run looks at clips it never learns from, and keeps the model that was best on them."""

from dataclasses import replace

import pytest
import torch

import vmdepth
from vmdepth import checkpoint
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.evaluation.accuracy import accuracy
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.trainer import Trainer
from vmdepth.training.watch.validation import CLIPS, FRAMES, Validation

SMALL = TrainSettings(
    size="28x42", clip_length=1, batch=2, warmup=2, save_every=2, validate_every=2, steps=4, ema=0.9, device="cpu"
)


def tensors(folder, file):
    return checkpoint.read_tensors(folder / file)[0]


def alike(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, and its reports."""
    folder, reports = tmp_path_factory.mktemp("validated"), []
    trainer = Trainer(SMALL, folder, resume=False)
    assert trainer.run(reports.append)
    return folder, reports, trainer


def test_looking_changes_no_bit_of_what_is_learnt(run, tmp_path):
    folder, _, _ = run
    Trainer(replace(SMALL, validate_every=0), tmp_path, resume=False).run(lambda _: None)
    assert not (tmp_path / "best.safetensors").exists()
    for file in ("last.safetensors", "train_state.safetensors"):
        assert alike(tensors(folder, file), tensors(tmp_path, file))


def test_the_figures_are_those_of_the_model_that_is_saved(run):
    folder, reports, trainer = run
    assert [report.step for report in reports] == [2, 4]
    model = vmdepth.load(folder / "last.safetensors")
    clips = render_clips(range(CLIPS), FRAMES, 28, 42)
    depth, _ = model(clips.rgb)
    shares = [
        accuracy(list(d[:, 0].numpy()), list(t[:, 0].numpy())).delta1 for d, t in zip(depth, clips.depth, strict=True)
    ]
    assert reports[-1].held_out.delta1 == pytest.approx(sum(shares) / CLIPS, abs=1e-4)
    assert trainer.model.training


def test_the_best_is_kept_beside_the_last_and_says_what_it_reaches(run, tmp_path):
    folder, reports, trainer = run
    _, facts = checkpoint.read_tensors(folder / "best.safetensors")
    best = max(reports, key=lambda report: report.held_out.delta1)
    assert facts["made"]["held_out"]["delta1"] == best.held_out.delta1 == trainer.best.delta1
    assert facts["made"]["steps_done"] == best.step
    resumed = Trainer(SMALL, folder, resume=True)
    assert resumed.best == best.held_out  # so that a worse one does not take its place


def test_validation_leaves_the_network_as_it_is(run):
    model = run[2].model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    others = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    Validation(28, 42, torch.device("cpu"))(model, others)
    assert alike(before, model.state_dict())


def test_curves_show_it(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(run[0])).Reload()
    assert [event.step for event in curves.Scalars("held out/delta1")] == [2, 4]
