"""The command `vmdepth-masks`: its options, and what it refuses."""

import re
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import get_args

import click
import cv2
import numpy as np
import pytest
import torch

from vmdepth.dynamics.command.settings import REFINEMENTS, MasksSettings
from vmdepth.dynamics.refinement.options import THRESHOLDS, How
from vmdepth_runtime.cli import run_command


@pytest.fixture
def run(type_command):
    return partial(type_command, "vmdepth.dynamics.command", "vmdepth-masks")


def test_options_have_the_defaults_of_the_settings(frames, model, run, settings_given):
    given = settings_given("vmdepth.dynamics.command.run.make_masks")
    assert run([frames, "--model", model, "-o", "out"])[0] == 2
    assert given == [MasksSettings(Path("out"), str(frames), model)]


def test_choices_are_those_of_the_stages():
    assert (*get_args(How), "none") == REFINEMENTS


GIVEN = ["{frames}", "--model", "{model}"]
REFUSED = {
    "three frames": (
        [*GIVEN, "--frames", 3],
        "video.*: 3 frames: the method 'published' takes 4 or more; cross, fused and guided take 2",
    ),
    "one frame": ([*GIVEN, "--frames", 1, "--method", "guided"], "1 frame: the method 'guided' takes 2 or more"),
    "frames of different size": (
        ["{tmp}/mixed", "--model", "{model}"],
        "1.png has 30x40 pixels, and 0.png 40x30; give",
    ),
    "no such layer": ([*GIVEN, "--layers", "9/11/12"], "layers '9/11/12': there is no block 12.* 5, 7, 9, 11 see all"),
    "no such band": ([*GIVEN, "--layers", "9/11-7/11"], "the band 11-7 is empty"),
    "no such name of layers": ([*GIVEN, "--layers", "deep"], "'deep' is no band of blocks; give a name"),
    "a network without attention": (["{frames}", "--model", "{edge}"], "edge.safetensors: .*has no attention.* have$"),
    "a network without attention that has learnt to tell": (
        ["{frames}", "--model", "{told}"],
        "told.safetensors: .*has no attention.*; this checkpoint tells 'dynamic' itself, by vmdepth-export and",
    ),
    "thresholds out of order": (
        [*GIVEN, "--method", "guided", "--hysteresis", 0.3, 0.6],
        "0.3 and 0.6: are out of order; the first is the high one",
    ),
    "a threshold beyond the map": ([*GIVEN, "--threshold", 2], "threshold 2: maps lie in 0..1"),
    "thresholds of another method": ([*GIVEN, "--hysteresis", 0.5, 0.2], "--hysteresis: is for --method guided"),
    "clusters of another method": ([*GIVEN, "--method", "cross", "--clusters", 3], "--clusters: is for .* and full"),
    "no refinement to tune": ([*GIVEN, "--refine-every", 2], "nothing is refined; --refine residual does"),
    "too few frames to check against": (
        [*GIVEN, "--method", "full", "--refine-every", 7],
        "--refine-every 7: .*video.* has 7 frames",
    ),
    "no such extent": ([*GIVEN, "--leave-out", "late"], "--leave-out late: it can be early, first_eight, none"),
    "more blocks than there are": (
        [*GIVEN, "--leave-out", 99],
        r"--leave-out 99: it can be early, first_eight, none, or 0 to 4, which is .* see all views \(5, 7, 9, 11\)",
    ),
    "full without what makes it full": (
        [*GIVEN, "--method", "full", "--refine", "none"],
        "--refine none: the method full without its refinement is --method published",
    ),
    "no model": (["{frames}"], "--model is missing"),
    "no source": (["--model", "{model}"], "SOURCE is missing"),
    "a source that is not there": (["{tmp}/none.mp4", "--model", "{model}"], "none.mp4: no such file"),
    "a model that is not there": (["{frames}", "--model", "{tmp}/none.safetensors"], "none.safetensors: no such file"),
    "arrays and a model": (
        ["--from", "{tmp}/a.npz", "--model", "{model}"],
        "--model: frames and what .* leave one of both out",
    ),
    "arrays and a window": (["--from", "{tmp}/a.npz", "--window", 20], "--window: frames and what"),
    "arrays and how a source is read": (
        ["--from", "{tmp}/a.npz", "--frames", 5],
        "--start, --frames, --every: frames and",
    ),
    "arrays of another ending": ([*GIVEN, "--out-arrays", "{tmp}/a.txt"], "a.txt: arrays are written as .npz"),
    "arrays that are not there": (["--from", "{tmp}/a.npz"], "a.npz: cannot be read"),
    "arrays that are none": (["--from", "{tmp}/text.npz"], "text.npz: is no file of --out-arrays"),
    "arrays of something else": (["--from", "{tmp}/else.npz"], "else.npz: is no file of --out-arrays"),
    "too small a window": ([*GIVEN, "--window", 1], "--window 1: is 2 frames or more"),
    "too little memory": ([*GIVEN, "--memory-budget", "1KiB"], "is too little .* smallest that works is"),
    "no amount": ([*GIVEN, "--memory-budget", "much"], "--memory-budget 'much': write bytes"),
    "a GPU that is not there": ([*GIVEN, "--device", "cuda"], "--device cuda: PyTorch finds no GPU here"),
    "a folder that is not empty": ([*GIVEN, "-o", "{frames}"], "holds something already"),
    "arrays in a folder nowhere": ([*GIVEN, "--out-arrays", "{tmp}/a/b.npz"], "the folder .*a is not there"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_one_line_and_leaves_nothing(
    what, frames, model, without_attention, with_motion_head, tmp_path, run
):
    words, line = REFUSED[what]
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is one")
    (tmp_path / "text.npz").write_bytes(b"no arrays")
    np.savez(tmp_path / "else.npz", depth=np.zeros(3))
    (tmp_path / "mixed").mkdir()
    for number, size in enumerate([(30, 40, 3), (40, 30, 3)]):
        cv2.imwrite(str(tmp_path / "mixed" / f"{number}.png"), np.zeros(size, np.uint8))
    before = sorted(tmp_path.rglob("*"))
    places = {"frames": frames, "model": model, "edge": without_attention, "told": with_motion_head, "tmp": tmp_path}
    given = [str(word).format(**places) for word in words]
    size = ["--process-res", 42] if "--from" not in words else []
    code, said = run([*size, "-o", tmp_path / "masks", *given])
    assert code == 2
    *stages, last = said.err.splitlines()
    assert all(stage.startswith("vmdepth-masks: loading") for stage in stages)  # which a busy machine may take long for
    assert re.search(line, last)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_needs_no_network_is_refused_without_torch(frames, model, tmp_path):
    """In one process, which ends with what it has loaded: of what is refused early nothing takes torch."""
    words = [
        [frames, "--model", model, "-o", frames],
        [frames, "--model", model, "--window", 1],
        [frames, "--model", model, "--layers", "deep"],
        [frames, "--model", model, "--memory-budget", "much"],
        [frames, "--model", model, "--method", "full", "--refine", "none"],
        [frames, "--model", model, "--out-arrays", tmp_path / "none" / "a.npz"],
        [tmp_path / "none.mp4", "--model", model],
        [frames, "--model", tmp_path / "none.safetensors"],
        ["--from", tmp_path / "none.npz"],
        ["--from", tmp_path / "none.npz", "--model", model],
    ]
    given = [["-o", str(tmp_path / "masks"), *map(str, line)] for line in words]
    script = f"""if True:
        import sys
        from vmdepth.dynamics.command.cli import main
        for line in {given}:
            sys.argv = ["vmdepth-masks", *line]
            try:
                main()
            except SystemExit as end:
                print(end.code, "torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2 False"] * len(words), done.stderr
    assert len(done.stderr.splitlines()) == len(words)


def test_guided_tells_both_thresholds(frames, model, tmp_path, run):
    words = [frames, "--model", model, "-o", tmp_path / "masks", "--process-res", 42, "--method", "guided"]
    code, said = run([*words, "--leave-out", "none", "--hysteresis", 0.5, 0.2])
    assert code == 0
    assert "% of the pixels move (hysteresis 0.5 and 0.2)\n" in said.out


def test_the_folder_is_told_in_one_line(frames, model, tmp_path, run):
    words = [frames, "--model", model, "-o", tmp_path / "masks", "--process-res", 42, "--method", "cross"]
    code, said = run(words)
    assert code == 0
    assert re.fullmatch(
        rf"{tmp_path}/masks: 7 masks of 84x60, [\d.]+% of the pixels move \(threshold 0.5\)\n", said.out
    )


def test_every_setting_has_an_option():
    from vmdepth.dynamics.command.cli import command

    names = {option.name for option in command.params}
    of_others = {"stages", "refinement", "read"}
    assert {field.name for field in fields(MasksSettings)} - of_others - names == set()


def test_the_help_says_the_thresholds_of_refinement():
    from vmdepth.dynamics.command.cli import command

    said = next(option.help for option in command.params if option.name == "refine_threshold")
    assert {f"{threshold:g} of {how}" in said for how, threshold in THRESHOLDS.items()} == {True}


def test_whoever_has_the_runtime_alone_is_sent_to_install_once(capsys):
    def needs_torch():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with pytest.raises(SystemExit, match="2"):
        run_command(click.Command("vmdepth-masks", callback=needs_torch), [])
    assert capsys.readouterr().err == "vmdepth-masks: this needs 'torch': pip install 'vmdepth[export,dynamics]'\n"
