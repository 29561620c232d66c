"""Commands take their defaults from their settings, and say what is wrong once."""

from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path

import pytest

from vmdepth.console import said_once
from vmdepth.evaluation.settings import EvalSettings
from vmdepth.training.motion.settings import MotionTrainSettings
from vmdepth.training.precompute_settings import PrecomputeSettings
from vmdepth_runtime.errors import InputError

# Command → words that it cannot do without, settings, function of its library.
COMMANDS = {
    "evaluate": (["a.onnx", "rendered"], EvalSettings(Path("a.onnx"), "rendered"), "evaluation.evaluator"),
    "precompute": (
        ["videos", "--teacher", "a.pth", "--out", "depth"],
        PrecomputeSettings(Path("videos"), Path("a.pth"), Path("depth")),
        "training.precompute",
    ),
    "train_motion": (
        ["edge.safetensors", "--out", "moving.safetensors"],
        MotionTrainSettings(Path("edge.safetensors"), Path("moving.safetensors")),
        "training.motion.fit",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_the_defaults_of_the_settings_and_none_of_their_own(name, monkeypatch):
    words, settings, module = COMMANDS[name]
    command = import_module(f"vmdepth.{name}").command
    defaults = {field.name: field.default for field in fields(settings) if field.default is not MISSING}
    assert command.context_settings["default_map"] == defaults
    given = []

    def stand_in(settings, *_, **__):
        given.append(settings)
        raise InputError("enough")

    monkeypatch.setattr(import_module(f"vmdepth.{module}"), name, stand_in)
    with pytest.raises(InputError, match="enough"):
        command.main(words, standalone_mode=False)
    assert given == [settings]


def test_what_all_processes_find_is_said_by_the_first_and_what_one_finds_by_that_one(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="2"), said_once():
        raise InputError("a wrong setting")
    with pytest.raises(InputError, match="a broken frame"), said_once() as end:
        end()
        raise InputError("a broken frame")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="a wrong setting"), said_once():
        raise InputError("a wrong setting")
