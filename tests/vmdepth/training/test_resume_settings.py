"""`--resume` alone goes on with a run as it is; more steps are the one thing that may be asked of it."""

import json

import pytest
import torch
from click.testing import CliRunner

from vmdepth import checkpoint
from vmdepth.train import command
from vmdepth.training.settings.parsing import parse_settings

SETTINGS = [
    "size=28x42",
    "clip_length=1",
    "batch=2",
    "warmup=1",
    "validate_every=0",
    "ema=0",
    "device=cpu",
    "d_state=8",
]


def train(*words):
    done = CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)
    return done.exception or done.output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert "step 2 of 2" in train("tiny", *SETTINGS, "steps=2", "--out", folder)
    return folder


def test_the_folder_may_be_named_either_way(run):
    for words in (["--resume", run], ["--resume", "--out", run], ["tiny", "--out", run, "--resume"]):
        assert "step 2 of 2" in train(*words)


def test_what_is_given_may_be_what_it_was_and_nothing_else(run, tmp_path):
    assert "step 2 of 2" in train("tiny", "batch=2", "--resume", "--out", run)
    assert "was started with another batch (see" in str(train("--resume", run, "batch=1"))
    assert "another preset" in str(train("small", "--resume", "--out", run))
    assert "another steps" in str(train("--resume", run, "steps=1"))
    assert "another batch (see" in str(train("--resume", run, "steps=9", "batch=1"))
    assert "are two runs; name one" in str(train("--resume", run, "--out", tmp_path))
    assert "no run to resume there" in str(train("--resume", tmp_path / "nothing"))
    assert "name the folder of the run" in str(train("--resume"))
    assert "name a folder for the run" in str(train("tiny"))
    assert "go on with it by --resume" in str(train(run, "--out", tmp_path / "new"))
    assert json.loads((run / "settings.json").read_text())["steps"] == 2


def test_steps_may_grow(run):
    assert "step 4 of 4" in train("--resume", run, "steps=4")
    assert json.loads((run / "settings.json").read_text())["steps"] == 4
    assert checkpoint.read_tensors(run / "train_state.safetensors")[1]["step"] == 4
    assert "step 4 of 4" in train("--resume", run)


def test_the_settings_of_a_run_are_a_config_file(run, tmp_path):
    settings = parse_settings(str(run / "settings.json"), ["steps=2"])
    assert settings == parse_settings("tiny", [*SETTINGS, "steps=2"])
    assert "step 2 of 2" in train(run / "settings.json", "steps=2", "--out", tmp_path / "again")
    weights = checkpoint.read_tensors(tmp_path / "again" / "last.safetensors")[0]
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_run_from_before_a_setting_existed_goes_on(run):
    file = run / "settings.json"
    written = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in written.items() if key != "picture_every"}))
    assert f"of {written['steps']}" in train("--resume", run)
