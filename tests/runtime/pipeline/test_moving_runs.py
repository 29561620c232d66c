"""Runs of a network that says what moves: marked where depth is coloured, kept in archives, left out of clouds."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from vmdepth_runtime import open_source
from vmdepth_runtime.depth.moving_marks import MovingMarks


@pytest.fixture(scope="module")
def model(build_graph):
    return build_graph(extra_outputs=("dynamic",))


@pytest.fixture(scope="module")
def video(make, tmp_path_factory):
    """A bright box goes across, by its own width from frame to frame."""
    images = np.full((5, 56, 84, 3), 40, np.uint8)
    for number, image in enumerate(images):
        image[16:40, 16 * number : 16 * number + 16] = 220
    return make.video(tmp_path_factory.mktemp("box") / "box.mp4", images, codec="mpeg4")


def outputs_of(run, folder, *options):
    """What a run writes in colours: frames of the mp4, of coloured images of two kinds."""
    folder.mkdir()
    names = [str(folder / name) for name in ("o.mp4", "%d.png", "%d.jpg")]
    outcome = run(*options, "--colour", "--palette", "gray", *(word for name in names for word in ("-o", name)))
    assert outcome.code == 0, outcome.lines
    with open_source(folder / "o.mp4") as source:
        frames = [frame.image[:, 84:] for frame in source]  # the source is to the left
    files = [[cv2.imread(str(folder / f"{number}.{kind}")) for number in range(5)] for kind in ("png", "jpg")]
    return frames, *files


def test_what_moves_is_marked_in_all_that_is_coloured_unless_that_is_not_wanted(vmdepth_run, video, model, tmp_path):
    marked = outputs_of(vmdepth_run, tmp_path / "a", video, "--model", model)
    plain = outputs_of(vmdepth_run, tmp_path / "b", video, "--model", model, "--no-dynamic-mask")
    assert vmdepth_run(video, "--model", model, "-o", "out.npz").code == 0
    with np.load(tmp_path / "out.npz") as data:
        assert (data["dynamic"].dtype, data["dynamic"].shape) == (np.float16, (5, 28, 42))
        assert not data["dynamic"][0].any()
        assert 0 < (data["dynamic"][1:] >= 0.5).mean() < 0.3
        dynamic = data["dynamic"].astype(np.float32)
    for with_marks, without in zip(marked, plain, strict=True):
        np.testing.assert_array_equal(with_marks[0], without[0])
        assert all(np.abs(a.astype(int) - b).max() > 100 for a, b in zip(with_marks[1:], without[1:], strict=True))
    expected = plain[1][3].copy()
    MovingMarks(56, 84).draw(expected, dynamic[3])
    np.testing.assert_array_equal(marked[1][3], expected)


def test_clouds_have_no_point_of_what_moves(vmdepth_run, video, model, luma_model, tmp_path):
    report = tmp_path / "r.json"
    sizes = []
    for path, *options in ((luma_model,), (model, "--no-dynamic-mask"), (model,)):
        options += ["--fov", "60", "--max-jump", "0", "--report", report]
        outcome = vmdepth_run(video, "--model", path, "-o", "%d.ply", *options)
        assert outcome.code == 0
        headers = [(tmp_path / f"{number}.ply").read_bytes().split(b"end_header")[0] for number in range(5)]
        sizes.append([int(header.split(b"vertex ")[1].split()[0]) for header in headers])
    everything, unheeded, still = sizes
    assert unheeded == everything
    assert still[0] == everything[0]
    assert all(0.6 * whole < part < 0.95 * whole for part, whole in zip(still[1:], everything[1:], strict=True))
    (source,) = json.loads(report.read_text())["sources"]
    assert 0.05 < source["moving"]["mean"] < source["moving"]["most"] < 0.3


def test_the_report_of_a_network_that_does_not_say_it_has_none(vmdepth_run, video, tmp_path):
    assert vmdepth_run(video, "-o", "out.npz", "--report", "r.json").code == 0
    assert json.loads((tmp_path / "r.json").read_text())["sources"][0]["moving"] is None


def test_where_no_notice_is_taken_archives_keep_the_map_and_nothing_is_counted(vmdepth_run, video, model, tmp_path):
    kept = []
    for options in ((), ("--no-dynamic-mask",)):
        assert vmdepth_run(video, "--model", model, "-o", "out.npz", "--report", "r.json", *options).code == 0
        with np.load(tmp_path / "out.npz") as data:
            kept.append(data["dynamic"])
    np.testing.assert_array_equal(*kept)
    assert kept[0].any() and json.loads((tmp_path / "r.json").read_text())["sources"][0]["moving"] is None


def test_marks_that_cannot_be_are_refused(vmdepth_run, video, model, tmp_path):
    outcome = vmdepth_run(video, "-o", "out.mp4", "--dynamic-mask")
    assert outcome.code == 2
    (line,) = outcome.lines
    assert "luma.onnx: does not tell what moves; give a checkpoint, or a graph that does" in line
    outcome = vmdepth_run(video, "-o", "out.mp4", "--dynamic-mask", "--offline", "--model", "net.safetensors")
    assert outcome.code == 2
    assert "--dynamic-mask: is of streams; 'vmdepth-masks' tells" in outcome.lines[-1]
    assert not list(tmp_path.iterdir())
    assert vmdepth_run(video, "--model", model, "-o", "out.npz", "--dynamic-mask").code == 0  # archives have it, too
