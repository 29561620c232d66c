"""`vmdepth-calibrate scale` as a user meets it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from vmdepth_calibrate.scale.cli import command
from vmdepth_calibrate.scale.settings import ScaleSettings
from vmdepth_export.info.models import model_facts
from vmdepth_runtime import bundled
from vmdepth_runtime.cli import run_command

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from vmdepth_calibrate.cli import main; main()"


def test_it_says_what_was_found_and_what_the_graph_is_says_it_again(measure, tmp_path):
    """In a process that cannot import torch: a board has none."""
    data, output = measure(0.6, 0.1, frames=3), tmp_path / "edge.metric.onnx"
    words = ["scale", bundled.MODEL, "--data", data, "-o", output]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{output}: depth in metres; held-out depth is off by 0.")
    given = line.partition("of 3 frames; the same for one run: ")[2]
    option, _, numbers = given.partition(" ")
    assert option == "--metres"
    assert [float(number) for number in numbers.split(",")[:2]] == pytest.approx([0.6, 0.1], rel=1e-5)
    facts = dict(model_facts(output))
    assert facts["depth"] == "depth in metres, larger is farther"
    assert facts["metres"].startswith(f"{given}, fitted to 3 frames of {data.name}, off by 0.")


def test_a_folder_of_folders_takes_no_torch_either_nor_does_one_that_is_not_there(measure, tmp_path):
    places = tmp_path / "places"
    places.mkdir()
    for number in range(2):
        shutil.copytree(measure(0.6, 0.1, frames=2), places / f"{number}")
    (places / "notes").mkdir()
    output = tmp_path / "edge.metric.onnx"
    for data, code, told in (
        (places, 0, "of 4 frames; the same for one run: --metres "),
        (places / "notes", 2, "notes: has no measured depth; name a folder with rgb/"),
        (tmp_path / "none", 2, "none: no such folder; name a folder with rgb/"),
    ):
        words = [sys.executable, "-c", WITHOUT_TORCH, "scale", "--data", str(data), "-o", str(output)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert told in (done.stderr if code else done.stdout)


def test_bad_input_is_one_line(measure, tmp_path, capsys):
    few = measure(0.6, 0.1, frames=2, points=40)
    for words, told in (
        ((bundled.MODEL, "--data", few), "40 points of measured depth to fit to, and it takes 100"),
        ((bundled.MODEL, "--data", tmp_path / "none.mcap"), "no such recording"),
        ((tmp_path / "none.onnx", "--data", few), "no such file"),
        ((), "Missing option '--data'"),
        (("--data", few, "--limit", "nan"), "--limit nan: should be a share of the distance, above 0"),
    ):
        with pytest.raises(SystemExit) as end:
            run_command(command, [*map(str, words), "-o", str(tmp_path / "m.onnx")])
        assert end.value.code == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("vmdepth-calibrate scale: ")
        assert told in line
    assert not list(tmp_path.iterdir())


def test_without_a_model_it_is_the_bundled_one(measure, tmp_path, capsys):
    output = tmp_path / "edge.metric.onnx"
    with pytest.raises(SystemExit) as end:
        run_command(command, ["--data", str(measure(0.6, 0.1, frames=2)), "-o", str(output)])
    assert end.value.code == 0, capsys.readouterr().err
    assert dict(model_facts(output))["model"] == dict(model_facts(bundled.MODEL))["model"]


def test_help_shows_the_defaults_of_the_settings():
    text = " ".join(command.get_help(command.make_context(command.name, ["a.onnx", "--data", "b", "-o", "c"])).split())
    assert text.startswith("Usage: vmdepth-calibrate scale [OPTIONS] [MODEL]")
    for value in (ScaleSettings.frames, ScaleSettings.limit):
        assert f"[default: {value};" in text
