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

from vmdepth_runtime import InputError, open_source
from vmdepth_runtime.sources.cameras.request import Request
from vmdepth_runtime.sources.live_readers import csi_pipeline

READ = """
import json, sys
from vmdepth_runtime import InputError, open_source
for uri in sys.argv[1:]:
    try:
        with open_source(uri) as source:
            source.wanted = 3
            frames = list(source)
            told = [source.name, source.info.width, source.info.height, source.info.fps, len(frames)]
            level = [frame.image.mean() for frame in frames]
            assert level[0] < level[1] < level[2] and all(frame.image.std() < 1 for frame in frames)
    except InputError as error:
        told = str(error)
    print(json.dumps(told))
"""
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


@pytest.fixture
def open_camera(emulation, tmp_path):
    """`open_camera("size=64x48", …)`: of each what `open_source` gives, or says, in one process."""
    (tmp_path / "video9").touch()

    def opened(*asked: str, **variables: str):
        uris = [f"v4l2://{tmp_path}/video9?{words}" for words in asked]
        told = {"LD_PRELOAD": str(emulation), "CAMERA": str(tmp_path / "video9"), "STEADY": "1"}
        done = subprocess.run(
            [sys.executable, "-c", READ, *uris],
            env={**os.environ, **told, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for uri, line in zip(uris, lines, strict=True):
            assert (line if isinstance(line, str) else line[0]).startswith(uri.partition("?")[0])
        return [line.partition(": ")[2] if isinstance(line, str) else tuple(line[1:]) for line in lines]

    return opened


def test_a_camera_gives_the_size_rate_and_format_that_it_is_asked_for(open_camera):
    assert open_camera(
        *("size=64x48", "size=64x48&fps=15", "fps=15", "size=32x24", "size=32x24&fps=60", "format=UYVY"),
        *("size=32x24&fps=30000/1001&format=yuyv422", "format=yuyv"),
    ) == [
        *((64, 48, 30.0, 3), (64, 48, 15.0, 3), (64, 48, 15.0, 3), (32, 24, 30.0, 3), (32, 24, 60.0, 3)),
        # UYVY alone is given 60 times a second, and is taken for that. A size that is not asked for stays as it was.
        *((32, 24, 60.0, 3), (32, 24, 30.0, 3), (32, 24, 30.0, 3)),
    ]


def test_what_a_camera_does_not_offer_is_told_with_what_it_does(open_camera):
    offers = "it offers yuyv422 64x48 at 30/15, 32x24 at 30; uyvy422 32x24 at 60"
    asked = ("size=1280x720", "size=64x48&fps=60", "format=mjpeg", "size=64x48&format=uyvy")
    assert open_camera(*asked) == [
        f"the camera does not offer {what}; {offers}" for what in ("1280x720", "64x48 at 60", "mjpeg", "uyvy 64x48")
    ]
    offers = "it offers yuyv422 16x16 to 64x48 at 1 to 30; uyvy422 32x24 at 60"
    asked = ("size=60x48", "size=48x48&fps=31", "size=32x24&fps=7")
    *refused, nearest = open_camera(*asked, RANGE="1")
    assert refused == [f"the camera does not offer {what}; {offers}" for what in ("60x48", "48x48 at 31")]
    # What a camera makes of it in spite of its list is told as well.
    assert nearest == "asked for 32x24 at 7, the camera gives 32x24 at 15; ask for that, or for nothing"


def test_a_camera_that_lists_nothing_is_asked_all_the_same(open_camera):
    assert open_camera("size=32x24", "size=1280x720", "fps=60&format=uyvy422", MUTE="1") == [
        (32, 24, 30.0, 3),
        "asked for 1280x720, the camera gives 64x48 at 30; ask for that, or for nothing",
        (32, 24, 60.0, 3),
    ]


def test_what_cannot_be_asked_of_a_camera_gets_one_line(tmp_path):
    (tmp_path / "video9").touch()
    for asked, message in [
        ("size=big", "size is width and height in pixels, as in size=1280x720"),
        ("size=0x48", "size is width and height in pixels"),
        ("fps=0.0", "fps is frames per second"),
        ("fps=30/0", "fps is frames per second"),
        ("fps=", "asks for nothing; "),
        ("fps=0", "fps is frames per second, as in fps=30 or fps=30000/1001"),
        ("fps=fast", "fps is frames per second"),
        ("size=64x48&size=32x24", "asks for one thing twice; behind the ? of a camera there are size=1280x720, fps=30"),
        ("exposure=3", "knows no 'exposure'; behind the ? of a camera there are size=1280x720, fps=30, format=mjpeg"),
        ("", "asks for nothing; "),
        ("size=64x48", "cannot be opened (Inappropriate ioctl for device)"),
    ]:
        with pytest.raises(InputError) as error:
            open_source(f"v4l2://{tmp_path}/video9?{asked}")
        assert str(error.value).startswith(f"v4l2://{tmp_path}/video9?{asked}: {message}")


def test_a_csi_camera_is_asked_for_size_and_rate():
    plain, asked = (csi_pipeline(1, request) for request in (None, Request.of("csi://1?size=1280x720&fps=60")))
    assert plain.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),framerate=30/1 ! nvvidconv ! ")
    caps = "video/x-raw(memory:NVMM),width=1280,height=720,framerate=60/1"
    assert asked == plain.replace("video/x-raw(memory:NVMM),framerate=30/1", caps)
    for uri, message in [
        ("csi://0?format=mjpeg", "a CSI camera has one format; size=1280x720 and fps=30 may be asked for"),
        ("csi://0?size=1", "size is width and height in pixels"),
    ]:
        with pytest.raises(InputError) as error:
            open_source(uri)
        assert str(error.value).startswith(f"{uri}: {message}")
