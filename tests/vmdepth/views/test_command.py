"""The command `vmdepth-views`: its options, and what it refuses."""

import re
from functools import partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from vmdepth.checkpoint import save
from vmdepth.networks.multiview.reference_view import Reference
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.preparation import ResizeMethod
from vmdepth.views.settings import REFERENCES, RESIZE_METHODS, ViewsSettings


@pytest.fixture
def run(type_command):
    return partial(type_command, "vmdepth.views", "vmdepth-views")


def test_options_have_the_defaults_of_the_settings(run, settings_given):
    given = settings_given("vmdepth.views.reconstruct.reconstruct")
    assert run(["a", "b", "--model", "m.safetensors", "-o", "out"])[0] == 2
    assert given == [ViewsSettings(("a", "b"), Path("m.safetensors"), Path("out"))]


REFUSED = {
    "one view where two are needed": (["{photos}/0.png"], "0.png: is one view, .* vmdepth-run"),
    "no source": (["{photos}/none"], "none: no such file"),
    "a picture that is none": (["{tmp}/bad.png"], r"bad.png: .*not a readable image"),
    "no room for a window": (["{photos}", "--window", 1], "--window 1: is 2 views or more"),
    "an overlap as large as that": (["{photos}", "--window", 4, "--overlap", 4], "--overlap 4: .* less than"),
    "an overlap of one window": (["{photos}", "--window", 0, "--overlap", 4], "--overlap 4: --window 0 takes all"),
    "colours of no file": (["{photos}", "--palette", "gray"], "--palette gray: .* --colour writes some"),
    "a reference beside poses": (["{photos}", "--poses", "a", "--reference", "first"], "--reference first: with"),
    "too little memory": (["{photos}", "--memory-budget", "1KiB"], "1MiB is too little .* smallest that works is"),
    "no amount": (["{photos}", "--memory-budget", "much"], "--memory-budget 'much': write bytes"),
    "a name twice": (["{photos}", "{photos}/3.png"], "3.png: two views have that name"),
    "a network of videos": (["{photos}", "--model", "{tmp}/video.safetensors"], "is a network of videos"),
    "a GPU that is not there": (["{photos}", "--device", "cuda"], "--device cuda: PyTorch finds no GPU here"),
    "no poses": (["{photos}", "--poses", "{tmp}/none.json"], "none.json: cannot be read"),
    "half a camera": (["{photos}", "--poses", "a", "--intrinsics", "5,5"], "intrinsics 5,5: intrinsics are fx, fy"),
    "no calibration": (["{photos}", "--poses", "a", "--intrinsics", "{tmp}/none.yaml"], "none.yaml: no such file"),
    "intrinsics without poses": (["{photos}", "--intrinsics", "1,1,1,1"], "--intrinsics go with"),
    "a folder that is not empty": (["{photos}", "-o", "{photos}"], "photos: holds something already"),
    "a folder that is a file": (["{photos}", "-o", "{photos}/0.png"], "0.png: is a file"),
    "a folder nowhere": (["{photos}", "-o", "{tmp}/a/b/c"], "the folder .*b is not there"),
    "nothing left of a narrow picture": (
        ["{tmp}/narrow.png", "--process-res-method", "upper_bound_crop"],
        "too narrow .* --process-res-method upper_bound_resize",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_one_line_and_leaves_nothing(what, photos, tiny, tmp_path, run):
    words, line = REFUSED[what]
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is one")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "narrow.png"), np.zeros((400, 15, 3), np.uint8))
    if "video.safetensors" in str(words):
        save(tmp_path / "video.safetensors", VideoDepth(PRESETS["tiny"]), "tiny")
    else:
        tiny("any-view")
    before = sorted(tmp_path.rglob("*"))
    given = [str(word).format(photos=photos, tmp=tmp_path) for word in words]
    defaults = ["--process-res", 42, "-o", tmp_path / "scene", "--model", tmp_path / "any.safetensors"]
    code, said = run([*defaults, *given])
    assert code == 2
    *stages, last = said.err.splitlines()
    assert all(stage.startswith("vmdepth-views: loading") for stage in stages)  # which a busy machine may take long for
    assert re.search(line, last)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["mono", "metric"])
@pytest.mark.parametrize(
    "words", [("--window", 4), ("--overlap", 4), ("--reference", "first"), ("--confidence-percentile", 10)]
)
def test_what_means_nothing_to_networks_of_single_pictures_is_refused(words, kind, settings, tiny, run):
    tiny(kind)
    common = [*settings.sources, "--model", settings.model, "-o", settings.output]
    code, said = run([*common, *words])
    assert code == 2
    assert re.search(f"{words[0]}: .* sees each picture alone .* leave {words[0]} out$", said.err.splitlines()[-1])
    assert not settings.output.exists()


def test_choices_are_those_of_the_networks():
    assert get_args(ResizeMethod) == RESIZE_METHODS
    assert get_args(Reference) == REFERENCES


def test_what_cannot_be_read_is_left_out_and_named(settings, photos, tiny, run):
    tiny("any-view")
    (photos / "4.png").write_bytes(b"no picture")
    words = ["--process-res", 42, "-o", settings.output, "--model", settings.model, photos]
    code, said = run(words)
    assert code == 0
    assert "left out frame 4 (4.png): not a readable image" in said.err
    assert said.out.startswith(f"{settings.output}: 9 views of 42x28, a cloud of ")
