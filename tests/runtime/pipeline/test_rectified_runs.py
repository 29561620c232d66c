"""Runs whose camera bends lines: frames straightened on reading, clouds straight without, and cameras of the sources'
own."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from vmdepth_runtime import Lens, Rectifier
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.pipeline.jobs import Job

CALIBRATION = """image_width: 128
image_height: 96
camera_matrix:
  data: [90.0, 0, 63.5, 0, 90.0, 47.5, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  data: [-0.3, 0.08, 0.001, 0.0, 0.0]
"""
FISHEYE = "fx: 45\nfy: 45\ncx: 31.5\ncy: 23.5\ndistortion_model: equidistant\nk1: 0.01\nk2: -0.005\n"
NAMES = {"barrel.yaml": CALIBRATION, "fisheye.yaml": FISHEYE}


@pytest.fixture
def calibrations(tmp_path):
    for name, text in NAMES.items():
        (tmp_path / name).write_text(text)


@pytest.fixture
def frames(make, tmp_path, calibrations):
    """Five frames of 64×48, without loss."""
    (tmp_path / "in").mkdir()
    images = [cv2.GaussianBlur(image, (0, 0), 3) for image in make.noise(5, seed=3)]
    for number, image in enumerate(images):
        make.image(tmp_path / "in" / f"{number}.png", image)
    return images


def vertices(path):
    head, _, body = path.read_bytes().partition(b"end_header\n")
    assert b"uchar blue" in head
    return np.frombuffer(body, np.dtype([("point", "<f4", 3), ("colour", "u1", 3)]))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_rectifies_is_one_on_frames_that_were_rectified(vmdepth_run, make, frames, tmp_path, name):
    rectify = Rectifier(Lens.of(intrinsics=tmp_path / name), 64, 48)
    (tmp_path / "straight").mkdir()
    for number, image in enumerate(frames):
        make.image(tmp_path / "straight" / f"{number}.png", rectify(image))
    camera = rectify.lens.camera(64, 48)
    assert vmdepth_run("in", "--camera", name, "--rectify", *outputs("a"), "--report", "a.json").code == 0
    numbers = ",".join(map(repr, (camera.fx, camera.fy, camera.cx, camera.cy)))
    assert vmdepth_run("straight", "--intrinsics", numbers, *outputs("b"), "--report", "b.json").code == 0
    with np.load(tmp_path / "a.npz") as rectified, np.load(tmp_path / "b.npz") as expected:
        np.testing.assert_array_equal(rectified["depth"], expected["depth"])
    for ending in ("png", "ply"):  # the range is that of rectified frames, and so are the pixels that points carry
        assert (tmp_path / "a" / f"3.{ending}").read_bytes() == (tmp_path / "b" / f"3.{ending}").read_bytes()
    (first,), (second,) = (json.loads((tmp_path / f"{k}.json").read_text())["sources"] for k in "ab")
    assert first["camera"].pop("given") == f"{name}, rectified"
    assert second["camera"].pop("given").startswith("intrinsics ")
    assert first["camera"] == pytest.approx(second["camera"])
    assert first["colour_range"] == second["colour_range"]


def outputs(name):
    words = f"-o {name}.npz -o {name}/%d.ply -o {name}/%d.png -o {name}.mp4 --max-jump 0"
    return words.split()


def test_a_cloud_is_straight_without_rectifying(vmdepth_run, frames, tmp_path):
    assert (
        vmdepth_run("in", "--camera", "barrel.yaml", "-o", "b/%d.ply", "--max-jump", "0", "--report", "r.json").code
        == 0
    )
    assert vmdepth_run("in", "--camera", "45,45,31.5,23.5", "-o", "p/%d.ply", "--max-jump", "0").code == 0
    bent, taken_for_straight = (vertices(tmp_path / folder / "2.ply") for folder in "bp")
    np.testing.assert_array_equal(bent["colour"], taken_for_straight["colour"])
    np.testing.assert_array_equal(bent["point"][:, 2], taken_for_straight["point"][:, 2])
    x, y, z = taken_for_straight["point"].T
    pixels = np.stack([x / z * 45 + 31.5, y / z * 45 + 23.5], axis=-1)[:, None].astype(np.float64)
    matrix = np.array([[45.0, 0, 31.5], [0, 45, 23.5], [0, 0, 1]])
    expected = cv2.undistortPoints(pixels, matrix, np.array([-0.3, 0.08, 0.001, 0, 0]))[:, 0]
    np.testing.assert_allclose(bent["point"][:, :2] / bent["point"][:, 2:], expected, atol=2e-3)
    assert np.abs(bent["point"] - taken_for_straight["point"]).max() > 0.05
    (source,) = json.loads((tmp_path / "r.json").read_text())["sources"]
    assert source["camera"]["distortion"] == {"model": "plumb_bob", "coefficients": [-0.3, 0.08, 0.001, 0, 0]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--rectify: needs --camera FILE, a calibration with distortion coefficients"),
        (("--fov", "60"), "--fov 60: says nothing of distortion, so there is nothing to rectify"),
        (("--camera", "45,45,31.5,23.5"), "intrinsics 45,45,31.5,23.5: says nothing of distortion"),
        (("--camera", "no.yaml"), "no.yaml: no such file; give a calibration"),
        (("--camera", "fov.yaml"), "fov.yaml: has the distortion model 'fov'; known are plumb_bob"),
        (("--camera", "tall.yaml"), "tall.yaml: is of 64x96 frames, and in is 64x48, of another shape"),
        (("--camera", "wild.yaml"), "wild.yaml: rectified, less than 0.2 of the frame would be left each way"),
    ],
)
def test_what_cannot_be_rectified_ends_in_a_line(vmdepth_run, frames, tmp_path, options, message):
    (tmp_path / "fov.yaml").write_text(CALIBRATION.replace("plumb_bob", "fov"))
    (tmp_path / "tall.yaml").write_text(CALIBRATION.replace("width: 128", "width: 64"))
    (tmp_path / "wild.yaml").write_text(CALIBRATION.replace("-0.3,", "-300,"))
    outcome = vmdepth_run("in", "--rectify", "-o", "out.npz", "-o", "out/%d.png", *options)
    assert outcome.code == 2
    assert message in outcome.lines[-1]
    assert not list(tmp_path.glob("*out*"))


@pytest.fixture
def cameras_of_their_own(monkeypatch):
    """Sources that say their camera, as recordings of robots do: by the source's name."""
    known = {}
    plain = Job.open

    def opened(job, settings):
        source = plain(job, settings)
        source.lens = known.get(source.name)
        return source

    monkeypatch.setattr(Job, "open", opened)
    return known


def test_every_source_has_its_own_camera_at_once_and_one_after_the_other(
    vmdepth_run, make, build_graph, cameras_of_their_own, tmp_path
):
    videos = [make.video(tmp_path / f"{k}.mp4", make.noise(3, seed=k)) for k in (1, 2, 3)]
    focals = {"1.mp4": 40.0, "2.mp4": 80.0}  # nobody says the third
    for name, focal in focals.items():
        cameras_of_their_own[name] = Lens(f"of {name}", pinhole=PinholeCamera(focal, focal, 31.5, 23.5))
    assumed = "assumed: 60 degrees along the longer side"
    made = {streams: build_graph(streams=streams, depth_kind="metric", metric_focal=300.0) for streams in (1, 3)}

    def depths(*options):
        assert vmdepth_run(*videos, "-o", "{name}.npz", "--report", "r.json", "--no-keyframes", *options).code == 0
        cameras = [source["camera"] for source in json.loads((tmp_path / "r.json").read_text())["sources"]]
        given = [camera and camera["given"] for camera in cameras]
        return given, np.stack([np.load(video.with_suffix(".npz"))["depth"] for video in videos])

    _, plain = depths("--model", build_graph(depth_kind="metric"))
    given, one_by_one = depths("--model", made[1])
    wide = 32 / np.tan(np.radians(30))
    for depth, unit, focal in zip(one_by_one, plain, (40.0, 80.0, wide), strict=True):
        np.testing.assert_allclose(depth, unit * (focal * (42 / 64 + 28 / 48) / 2 / 300), rtol=1e-6)
    given_at_once, at_once = depths("--model", made[3], "--streams")
    assert given == given_at_once == ["of 1.mp4", "of 2.mp4", assumed]
    np.testing.assert_array_equal(one_by_one, at_once)
    given, depth = depths("--model", made[1], "--fov", "60")
    assert given == ["--fov 60"] * 3  # what is given comes before what sources say
    np.testing.assert_allclose(depth, plain * (wide * (42 / 64 + 28 / 48) / 2 / 300), rtol=1e-6)
