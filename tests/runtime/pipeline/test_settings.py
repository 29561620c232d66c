"""`vmdepth-run` is its settings: defaults stand there alone, and whoever has settings can run them."""

from __future__ import annotations

from dataclasses import MISSING, fields

import numpy as np
import pytest

from vmdepth_runtime import InputError, LiveSettings, RunSettings, run
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings


def test_a_run_takes_settings_and_gives_the_report(make, luma_model, tmp_path, capfd):
    path = make.video(tmp_path / "in.mp4", make.noise(12))
    output = tmp_path / "out.npz"
    report = run(RunSettings(sources=(str(path),), outputs=(str(output),), model=luma_model))
    assert (report["frames_out"], report["interrupted"], report["failure"]) == (12, False, None)
    assert report["sources"][0]["keyframes"] is not None  # on, as in the command
    with np.load(output) as data:
        assert data["depth"].shape == (12, 48, 64)
    assert "12 frames in, 12 out" in capfd.readouterr().err


def test_settings_that_are_refused_raise(luma_model, tmp_path):
    with pytest.raises(InputError, match="unknown output ending"):
        run(RunSettings(("demo",), (str(tmp_path / "out.avi"),), luma_model))
    with pytest.raises(InputError, match="--keyframe-drift"):
        run(RunSettings(("demo",), (str(tmp_path / "out.npz"),), luma_model, keyframes={"drift": -1.0}))
    with pytest.raises(InputError, match="there is no palette 'rainbow'; there are inferno, "):
        run(RunSettings(("demo",), (str(tmp_path / "out.mp4"),), luma_model, palette="rainbow"))
    assert not list(tmp_path.iterdir())


def test_options_have_the_defaults_of_the_settings_and_none_of_their_own(monkeypatch, luma_model):
    from vmdepth_runtime.pipeline import run as module
    from vmdepth_runtime.pipeline.cli import command

    given = []
    monkeypatch.setattr(module, "run", lambda settings: given.append(settings) or {"interrupted": False})
    command.main(["walk.mp4"], standalone_mode=False)
    unchanged = dict.fromkeys(field.name for field in fields(KeyframeSettings))
    assert given == [RunSettings(("walk.mp4",), keyframes=unchanged)]
    assert KeyframeSettings.of(KeyframeSettings(), **unchanged) == KeyframeSettings()


def test_help_shows_the_defaults_of_the_settings():
    from vmdepth_runtime.pipeline.cli import command

    context = command.make_context("vmdepth-run", ["walk.mp4"])
    help_text = " ".join(command.get_help(context).split())
    for name, value in (("backend", RunSettings.backend), ("resize", RunSettings.resize)):
        assert f"--{name}" in help_text
        assert f"[default: {value}]" in help_text
    assert f"[default: {LiveSettings.max_gap}; x>=0]" in help_text
    assert f"[default: {LiveSettings.stall}; x>=0.1]" in help_text
    for value in (KeyframeSettings.memory, KeyframeSettings.follow, KeyframeSettings.drift):
        assert f"[{value:g}]" in help_text
    for option in command.params:
        for field in (*fields(RunSettings), *fields(LiveSettings)):
            if option.name == field.name and field.default is not MISSING:
                assert option.get_default(context) == field.default


def test_arguments_wait_for_no_heavy_library_and_help_only_for_those_of_the_outputs(start_bare, tmp_path):
    code = """
from vmdepth_runtime.pipeline.cli import command

def assert_not_loaded(*names):
    loaded = set(names) & set(sys.modules)
    assert not loaded, loaded

context = command.make_context("vmdepth-run", ["walk.mp4", "-o", "out.mp4", "--fov", "60"])
assert context.params["outputs"] == ("out.mp4",)
assert_not_loaded("numpy", "onnxruntime", "av", "cv2", "rich", "torch")
print(command.get_help(context))
assert_not_loaded("onnxruntime", "rich", "torch")
"""
    process = start_bare(code, cwd=tmp_path)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "SOURCE..." in output
    assert "OUT.mp4" in output
