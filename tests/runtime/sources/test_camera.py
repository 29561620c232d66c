"""A Video4Linux camera, as FFmpeg sees one, that stops sending and is then unplugged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MAIN = "from vmdepth_runtime.pipeline.cli import main; main()"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler, for an emulated camera"
)


@pytest.fixture(scope="module")
def emulation(tmp_path_factory):
    library = tmp_path_factory.mktemp("camera") / "camera.so"
    source = Path(__file__).with_name("v4l2_camera.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def run_camera(emulation, luma_model, tmp_path):
    (tmp_path / "video9").touch()

    def run(*words: str, **variables: str):
        uri = f"v4l2://{tmp_path}/video9"
        environment = {**os.environ, "LD_PRELOAD": str(emulation), "CAMERA": str(tmp_path / "video9"), **variables}
        words = (sys.executable, "-c", MAIN, uri, "--model", str(luma_model), *words)
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_a_camera_that_stops_sending_is_opened_again_and_an_unplugged_one_given_up(run_camera, tmp_path):
    done = run_camera("-o", "out.npz", "--stall", "1", "--max-gap", "0.5", "--retries", "2", "--report", "r.json")
    assert done.returncode == 0, done.stderr
    (source,) = json.loads((tmp_path / "r.json").read_text())["sources"]
    assert (source["live"], source["width"], source["height"], source["fps"]) == (True, 64, 48, 30.0)
    assert (source["losses"], source["frames_in"]) == (2, 80)
    name = f"v4l2://{tmp_path}/video9"
    assert source["warnings"][0] == f"{name}: lost (no picture for too long); opening it again"
    assert re.fullmatch(rf"{name}: nothing came for \d+\.\d s, the stream starts anew", source["warnings"][1])
    assert source["warnings"][2] == f"{name}: lost (No such device); opening it again"
    assert source["warnings"][3] == f"{name}: cannot be opened (No such device); check the address; trying again"
    assert source["warnings"][4].endswith("given up after opening it 2 times again; --retries allows more")
    with np.load(tmp_path / "out.npz") as data:
        depth, times = data["depth"], data["times"]
    assert len(depth) == source["frames_out"] == 80 - source["dropped"]
    assert np.diff(times).max() > 1.0
    # Each picture is brighter than the one before, until the camera starts anew and its stream with it.
    brighter = np.diff(depth.mean(axis=(1, 2))) > 0
    assert (~brighter).sum() == 1
    assert np.argmin(brighter) == np.argmax(np.diff(times))


def test_a_camera_that_opens_again_but_stays_silent_is_given_up_too(run_camera, tmp_path):
    done = run_camera("-o", "out.npz", "--stall", "0.3", "--retries", "2", "--report", "r.json", SILENT="1")
    assert done.returncode == 0, done.stderr
    (source,) = json.loads((tmp_path / "r.json").read_text())["sources"]
    assert (source["losses"], source["frames_in"]) == (3, 40)
    assert source["warnings"][-1].endswith("given up after opening it 2 times again; --retries allows more")


def test_a_camera_that_is_busy_at_first_is_waited_for(run_camera, tmp_path):
    done = run_camera("-o", "out.npz", "--stall", "0.3", "--retries", "2", SILENT="1", BUSY="2")
    assert done.returncode == 0, done.stderr
    waited = f"vmdepth-run: v4l2://{tmp_path}/video9: cannot be opened (Device or resource busy)"
    lines = done.stderr.splitlines()
    assert lines[0] == f"{waited}; is another program using it?; trying again, Ctrl-C ends it"
    assert not any(line.startswith(waited) for line in lines[1:])
    assert (tmp_path / "out.npz").exists()
    done = run_camera("-o", "out.npz", "--retries", "1", BUSY="2")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        f"{waited}; is another program using it?; given up after trying 1 time again, --retries allows more"
    ]


def test_a_camera_that_is_not_there_gets_one_line(run_camera, tmp_path):
    (tmp_path / "video9").unlink()
    done = run_camera("-o", "out.npz")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"v4l2://{tmp_path}/video9: no such camera" in line
    assert not list(tmp_path.iterdir())
