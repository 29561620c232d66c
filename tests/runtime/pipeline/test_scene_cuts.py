"""Runs over what was cut together: depth, colours and report by scene."""

from __future__ import annotations

import json
import os
from threading import Thread

import numpy as np
import pytest

from vmdepth_runtime import RunSettings, run
from vmdepth_runtime.depth.colour_map import RunningRange


@pytest.fixture
def film(make):
    """Two scenes of 12 and 8 frames: as light as each other, and of other colours."""
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    up, down = 60 + 150 * (y > 24), 60 + 150 * (x > 40)
    first = np.stack([np.roll(up, k, axis=0) for k in range(12)])[..., None] * (1, 0.3, 0.2)
    second = np.stack([np.roll(down, k, axis=1) for k in range(8)])[..., None] * (0.2, 0.4, 1)
    return first.astype(np.uint8), second.astype(np.uint8)


def test_depth_after_a_cut_is_that_of_the_scene_alone(vmdepth_run, make, film, tmp_path):
    make.video(tmp_path / "joined.mkv", np.concatenate(film), codec="ffv1")
    make.video(tmp_path / "second.mkv", film[1], codec="ffv1")
    told = vmdepth_run("joined.mkv", "-o", "joined.npz", "-o", "joined.mp4", "--report", "r.json")
    vmdepth_run("second.mkv", "-o", "second.npz")
    vmdepth_run("joined.mkv", "-o", "whole.npz", "--no-cuts", "--report", "whole.json")
    assert "vmdepth-run: 1 scene cut, at frame 12: the stream started anew there" in told.lines
    depths = {name: np.load(tmp_path / f"{name}.npz")["depth"] for name in ("joined", "second", "whole")}
    np.testing.assert_array_equal(depths["joined"][12:], depths["second"])
    np.testing.assert_array_equal(depths["joined"][:12], depths["whole"][:12])
    assert (depths["whole"][12:] != depths["second"]).any()
    reports = [json.loads((tmp_path / name).read_text())["sources"][0] for name in ("r.json", "whole.json")]
    assert [(report["cut_count"], report["cuts"]) for report in reports] == [(1, [12]), (0, [])]


def test_where_colours_run_they_start_anew_too(luma_model, make, film, tmp_path):
    """Of a pipe, of which nobody knows beforehand how deep it will be."""

    def colour_range(images):
        content = make.video(tmp_path / "film.mkv", images, codec="ffv1").read_bytes()
        os.mkfifo(tmp_path / "pipe")
        feeder = Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
        feeder.start()
        settings = RunSettings((str(tmp_path / "pipe"),), (str(tmp_path / "out.mp4"),), luma_model)
        (source,) = run(settings)["sources"]
        feeder.join()
        (tmp_path / "pipe").unlink()
        return source["colour_range"]

    first, second = film
    assert colour_range(np.concatenate([first, second[:1]])) == colour_range(second[:1])


def test_a_running_range_that_starts_anew_knows_nothing_of_before():
    ramp = np.linspace(1, 2, 100, dtype=np.float32).reshape(10, 10)
    running = RunningRange()
    running.update(100 * ramp, 0.0)
    running.restart()
    assert running.update(ramp, 0.04) == RunningRange().update(ramp, 0.04)


def test_of_a_whole_video_at_once_cuts_are_no_matter_of_streams(vmdepth_run, make, film, tmp_path):
    make.video(tmp_path / "joined.mkv", np.concatenate(film), codec="ffv1")
    told = vmdepth_run("joined.mkv", "--offline", "--cuts", "--model", "x.safetensors")
    assert told.code == 2
    assert told.lines[-1].startswith("vmdepth-run: --cuts: is of streams; --offline looks at the whole video")


def test_many_cuts_are_counted_and_the_first_ones_named(vmdepth_run, make, film, tmp_path):
    first, second = film
    scenes = np.concatenate([(first, second)[k % 2][:3] for k in range(14)])
    make.video(tmp_path / "many.mkv", scenes, codec="ffv1")
    told = vmdepth_run("many.mkv", "-o", "many.npz")
    expected = "13 scene cuts, at frames 3, 6, 9, 12, 15, 18, 21, 24, 27, 30 and 3 more: the stream started anew there"
    assert f"vmdepth-run: {expected}" in told.lines


@pytest.mark.parametrize(("options", "count"), [((), 0), (("--cuts",), 1)])
def test_recordings_tell_their_jumps_themselves(vmdepth_run, make, film, tmp_path, options, count):
    make.video(tmp_path / "joined.mkv", np.concatenate(film), codec="ffv1")
    vmdepth_run("joined.mkv", "-o", "joined.mcap")
    vmdepth_run("joined.mcap", "--topic", "/vmdepth/colour/compressed", "-o", "x.npz", "--report", "r.json", *options)
    assert json.loads((tmp_path / "r.json").read_text())["sources"][0]["cut_count"] == count


@pytest.mark.parametrize("options", [(), ("--cuts",)])
def test_pictures_have_no_cuts(vmdepth_run, make, film, tmp_path, options):
    for number, image in enumerate((film[0][0], film[1][0])):
        make.image(tmp_path / f"{number}.png", image)
    vmdepth_run(".", "--images", "-o", "{name}.npy", "--report", "r.json", *options)
    assert json.loads((tmp_path / "r.json").read_text())["sources"][0]["cut_count"] == 0
