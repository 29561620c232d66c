"""One file per frame: what is read back is what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from vmdepth_runtime import SinkFacts, SourceFrame, VideoInfo, open_sink
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.encoding.cloud_settings import CloudSettings

HEIGHT, WIDTH = 47, 63
ALL = CloudSettings(max_jump=0)  # of noise, where depth jumps from pixel to pixel
CAMERA = PinholeCamera(50.0, 40.0, 31.0, 23.0)
LENS = Lens("given", pinhole=CAMERA)


def facts(**other):
    return SinkFacts(VideoInfo(WIDTH, HEIGHT, None, 30.0, Fraction(1, 30)), **other)


@pytest.fixture
def depths():
    return 1 + 3 * np.random.default_rng(0).random((3, HEIGHT, WIDTH), np.float32)


def write(target, depths, image=None, **other):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if image is None else image
    with open_sink(target, facts(**other)) as sink:
        for number, depth in zip((0, 1, 7), depths, strict=True):
            sink.write(SourceFrame(number, number / 30, image), depth, image)
    return sink


def test_npy_is_exact_and_named_by_the_frame(tmp_path, depths):
    write(tmp_path / "out" / "%06d.npy", depths)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000000.npy", "000001.npy", "000007.npy"]
    for number, depth in zip((0, 1, 7), depths, strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{number:06d}.npy"), depth)


@pytest.mark.parametrize(
    ("kind", "near"), [("relative", 4.0), ("relative", None), ("scaled", 4.0), ("scaled", None), ("metric", None)]
)
def test_png_holds_16_bits_and_its_sidecar_says_what_they_are(tmp_path, depths, kind, near):
    depths[2] = np.nan
    sink = write(tmp_path / "out" / "d%04d.png", depths, depth_kind=kind, near=near)
    sidecar = json.loads((tmp_path / "out" / "ddepth.json").read_text())
    assert sidecar["depth_kind"] == kind
    assert sidecar["unit"] == ("m" if kind == "metric" else None)
    assert ("larger is nearer" in sidecar["meaning"]) == (kind == "relative")
    step = sidecar["depth_per_step"]
    assert kind != "metric" or step == pytest.approx(0.001)
    for number, depth in ((0, depths[0]), (1, depths[1])):
        image = cv2.imread(str(tmp_path / "out" / f"d{number:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert image.dtype == np.uint16
        np.testing.assert_allclose(image * step, depth, atol=0.51 * step)
    assert not cv2.imread(str(tmp_path / "out" / "d0007.png"), cv2.IMREAD_UNCHANGED).any()
    assert sink.notes == []


@pytest.mark.parametrize("nearest", [4.0, 0.6125948])  # of the second all steps come to a hair more than 65535
def test_png_of_a_single_frame_has_all_of_the_16_bits(tmp_path, depths, nearest):
    depths[0] *= np.float32(nearest) / depths[0].max()
    depths[0, 0, 0] = nearest
    alone = replace(facts(near=1.5), info=replace(facts().info, frames=1))
    with open_sink(tmp_path / "out" / "%d.png", alone) as sink:
        sink.write(SourceFrame(0, 0.0, np.zeros((HEIGHT, WIDTH, 3), np.uint8)), depths[0], None)
    assert sink.notes == []
    image = cv2.imread(str(tmp_path / "out" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert image.max() == 65535
    step = json.loads((tmp_path / "out" / "depth.json").read_text())["depth_per_step"]
    np.testing.assert_allclose(image * step, depths[0], atol=0.51 * step)


def test_a_first_frame_without_depth_spoils_neither_scale_nor_points(tmp_path, depths):
    depths[0] = np.nan
    write(tmp_path / "out" / "%d.png", 10 * depths)
    write(tmp_path / "out" / "%d.ply", depths, lens=LENS, cloud=ALL)
    step = json.loads((tmp_path / "out" / "depth.json").read_text())["depth_per_step"]
    image = cv2.imread(str(tmp_path / "out" / "7.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(image * step, 10 * depths[2], atol=0.51 * step)
    sizes = [len(read_ply(tmp_path / "out" / f"{number}.ply")) for number in (0, 1, 7)]
    assert sizes == [0, depths[1].size, depths[2].size]


def test_metres_that_16_bits_cannot_hold_are_none_and_counted(tmp_path, depths):
    depths = depths.copy()
    depths[:, 0, :3] = 65.535, 65.5357, 70
    sink = write(tmp_path / "out" / "%d.png", depths, depth_kind="metric")
    image = cv2.imread(str(tmp_path / "out" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert image[0, :3].tolist() == [65535, 0, 0]
    name = tmp_path / "out" / "%d.png"
    assert sink.notes == [f"{name}: 6 pixels were beyond the 65.535 m that 16 bits hold, and are 0"]


def test_depth_without_a_unit_that_16_bits_cannot_hold_is_as_near_as_they_go_and_said(tmp_path, depths):
    depths[1] *= 1000
    sink = write(tmp_path / "out" / "%d.png", depths)
    assert cv2.imread(str(tmp_path / "out" / "1.png"), cv2.IMREAD_UNCHANGED).max() == 65535
    assert sink.notes[0].endswith("pixels were beyond what 16 bits hold, and are 65535")


@pytest.mark.parametrize(("name", "colour"), [("%d.png", True), ("%d.jpg", False), ("%d.JPEG", True)])
def test_coloured_pictures_show_depth_alone(tmp_path, depths, name, colour):
    shades = np.linspace(0, 255, WIDTH).astype(np.uint8)
    picture = np.stack(
        [np.tile(shades, (HEIGHT, 1)), np.full((HEIGHT, WIDTH), 90), np.full((HEIGHT, WIDTH), 30)], axis=-1
    )
    picture = picture.astype(np.uint8)
    with open_sink(tmp_path / "out" / name, facts(colour=colour)) as sink:
        assert sink.wants_colour
        sink.write(SourceFrame(3, 0.1, np.zeros_like(picture)), depths[0], picture)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [name % 3]  # and no sidecar
    read = cv2.imread(str(tmp_path / "out" / (name % 3)), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read.astype(int), picture, atol=0 if ".png" in name else 8)


def test_exr_is_exact(tmp_path, depths):
    write(tmp_path / "out" / "%06d.exr", depths)
    for number, depth in zip((0, 1, 7), depths, strict=True):
        with av.open(str(tmp_path / "out" / f"{number:06d}.exr")) as container:
            picture = next(container.decode(video=0))
        assert picture.format.name == "grayf32le"
        np.testing.assert_array_equal(picture.to_ndarray(), depth)


def read_ply(path):
    content = path.read_bytes()
    end = content.index(b"end_header\n") + len(b"end_header\n")
    head = content[:end].decode().splitlines()
    assert head[:2] == ["ply", "format binary_little_endian 1.0"]
    kinds = {"float": "<f4", "uchar": "u1"}
    names = [(line.split()[2], kinds[line.split()[1]]) for line in head if line.startswith("property")]
    points = np.frombuffer(content[end:], names)
    assert f"element vertex {len(points)}" in head
    return points


def test_ply_points_project_onto_their_pixels(tmp_path, depths):
    image = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    depths[0, 5, 5] = np.nan
    write(tmp_path / "out" / "%d.ply", depths, image, depth_kind="metric", lens=LENS, cloud=ALL)
    points = read_ply(tmp_path / "out" / "0.ply")
    assert len(points) == HEIGHT * WIDTH - 1
    columns = points["x"] / points["z"] * CAMERA.fx + CAMERA.cx
    rows = points["y"] / points["z"] * CAMERA.fy + CAMERA.cy
    np.testing.assert_allclose(columns, np.rint(columns), atol=1e-3)
    rows, columns = np.rint(rows).astype(int), np.rint(columns).astype(int)
    np.testing.assert_allclose(points["z"], depths[0][rows, columns])
    np.testing.assert_array_equal(points["green"], image[rows, columns, 1])


def test_relative_depth_becomes_points_on_one_scale(tmp_path, depths):
    depths[1] *= 0.5  # all twice as far
    depths[2] = 0  # infinitely far
    write(tmp_path / "out" / "%d.ply", depths, lens=LENS, near=4.0, cloud=ALL)
    first, second, third = (read_ply(tmp_path / "out" / f"{number}.ply") for number in (0, 1, 7))
    np.testing.assert_allclose(np.sort(first["z"]), np.sort(4.0 / depths[0].ravel()), rtol=1e-6)
    assert np.median(second["z"]) == pytest.approx(2 * np.median(first["z"]), rel=0.05)
    assert len(third) == 0


def test_the_command_writes_them_all_at_once(vmdepth_run, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(5))
    outputs = ["-o", "d/%06d.png", "-o", "d/%06d.npy", "-o", "e/%d.exr", "-o", "p/%d.ply", "-o", "all.npz"]
    assert vmdepth_run(path, *outputs, "--fov", "60").code == 0
    with np.load(tmp_path / "all.npz") as archive:
        data = dict(archive)
        for number, depth in enumerate(data["depth"]):
            np.testing.assert_array_equal(np.load(tmp_path / "d" / f"{number:06d}.npy"), depth)
    for folder, count in (("d", 11), ("e", 5), ("p", 5)):
        assert len(list((tmp_path / folder).iterdir())) == count
    assert vmdepth_run(path, "-o", "c/%d.png", "-o", "c/%d.jpg", "--colour", "--palette", "gray").code == 0
    for number, depth in enumerate(data["depth"]):
        image = cv2.imread(str(tmp_path / "c" / f"{number}.png"))
        assert (image == image[..., :1]).all()
        assert np.corrcoef(image[..., 0].ravel(), depth.ravel())[0, 1] > 0.99
    assert len(list((tmp_path / "c").iterdir())) == 10
    assert vmdepth_run(path, "-o", "p/%d.ply", "--intrinsics", "50,50,32").code == 2
