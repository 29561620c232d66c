"""Cameras come back from the files they were written to, and what does not fit the views is refused in one line."""

import json

import numpy as np
import pytest

from vmdepth.views.camera_files import CameraOf, write_cameras, write_colmap
from vmdepth.views.geometry import inverse, pinhole_of, quaternion_of, rotation_of
from vmdepth.views.given_cameras import read_cameras
from vmdepth.views.windows import Seam
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.errors import InputError

NAMES = ["b.jpg", "a one.jpg", "c.jpg"]
SIZES = [(640, 480)] * 3
LENS = Lens.of(intrinsics="500,510,309.5,249.5")


def cameras():
    generator = np.random.default_rng(3)
    turns = rotation_of(generator.normal(size=(3, 4)))
    matrices = [np.array([[500.0 + k, 0, 310], [0, 510, 250], [0, 0, 1]]) for k in range(3)]
    poses = np.concatenate([turns, generator.normal(size=(3, 3, 1))], axis=2)
    return [CameraOf(n, *s, p, m) for n, s, p, m in zip(NAMES, SIZES, poses, matrices, strict=True)]


def poses_of(given):
    return np.stack([camera.extrinsics for camera in given])


def matrices_of(given):
    return np.stack([camera.intrinsics for camera in given])


@pytest.fixture
def written(tmp_path):
    given = cameras()
    seams = [Seam(0, 2, 0, 1.0, None)]
    write_cameras(tmp_path / "cameras.json", given, matrices_of(given), {"depth_kind": "scaled"}, seams)
    write_colmap(tmp_path / "colmap", given, np.float32([[1, 2, 3]]), np.uint8([[4, 5, 6]]))
    with (tmp_path / "walk.txt").open("w") as file:
        print("# timestamp tx ty tz qx qy qz qw", file=file)
        for number, camera in enumerate(given):
            to_world = inverse(camera.extrinsics)
            w, x, y, z = quaternion_of(to_world[:, :3])
            print(number / 30, *to_world[:, 3], x, y, z, w, file=file)
    return tmp_path


@pytest.mark.parametrize("name", ["cameras.json", "colmap"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_written_cameras_come_back_by_their_names(name, order, written):
    given = [cameras()[place] for place in order]
    extrinsics, intrinsics = read_cameras(written / name, [NAMES[place] for place in order], SIZES, None)
    assert extrinsics == pytest.approx(poses_of(given), abs=1e-9)
    assert intrinsics == pytest.approx(matrices_of(given))


def test_other_names_go_in_the_files_order(written):
    extrinsics, _ = read_cameras(written / "cameras.json", ["0.png", "1.png", "2.png"], SIZES, None)
    assert extrinsics == pytest.approx(poses_of(cameras()))
    extrinsics, _ = read_cameras(written / "colmap", ["0.png", "1.png", "2.png"], SIZES, None)
    assert extrinsics == pytest.approx(poses_of(sorted(cameras(), key=lambda camera: camera.name)), abs=1e-9)


def test_a_trajectory_is_camera_to_world(written):
    """--intrinsics count from the middle of the first pixel, as for vmdepth-run; matrices from its outer corner."""
    extrinsics, intrinsics = read_cameras(written / "walk.txt", NAMES, SIZES, LENS)
    assert extrinsics == pytest.approx(poses_of(cameras()), abs=1e-9)
    assert intrinsics[2] == pytest.approx(np.array([[500.0, 0, 310], [0, 510, 250], [0, 0, 1]]))
    assert pinhole_of(intrinsics[2]) == LENS.camera(640, 480)


def test_a_trajectory_takes_a_calibration_of_another_resolution(written):
    text = "image_width: 1280\nimage_height: 960\nfx: 1000\nfy: 1020\ncx: 619.5\ncy: 499.5\n"
    (written / "lens.yaml").write_text(text)
    _, intrinsics = read_cameras(written / "walk.txt", NAMES, SIZES, Lens.of(intrinsics=written / "lens.yaml"))
    assert intrinsics[0] == pytest.approx(np.array([[500.0, 0, 310], [0, 510, 250], [0, 0, 1]]))


def test_a_lens_that_does_not_fit_is_refused(written):
    line = "intrinsics 500,510,700,250: its principal point 700,250 is far from the middle of b.jpg, which is 640x480"
    with pytest.raises(InputError, match=line):
        read_cameras(written / "walk.txt", NAMES, SIZES, Lens.of(intrinsics="500,510,700,250"))


def test_the_text_is_colmaps(written):
    first = cameras()[0]
    lines = [line for line in (written / "colmap" / "images.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 6  # each with a line of points, which is empty
    assert lines[1::2] == ["", "", ""]
    number, w, x, y, z, *shift, camera, name = lines[0].split()
    assert (number, camera, name) == ("1", "1", "b.jpg")
    assert [float(v) for v in (w, x, y, z)] == pytest.approx(quaternion_of(first.extrinsics[:, :3]))
    assert [float(v) for v in shift] == pytest.approx(first.extrinsics[:, 3])
    assert (written / "colmap" / "cameras.txt").read_text().splitlines()[1] == "1 PINHOLE 640 480 500 510 310 250"
    assert (written / "colmap" / "points3D.txt").read_text().splitlines()[1] == "1 1 2 3 4 5 6 0"


def test_pictures_of_another_resolution_have_cameras_of_theirs(written):
    _, intrinsics = read_cameras(written / "cameras.json", NAMES, [(320, 240)] * 3, None)
    assert intrinsics[0] == pytest.approx(np.array([[250, 0, 155], [0, 255, 125], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("name", "names", "sizes", "lens", "line"),
    [
        ("cameras.json", NAMES[:2], SIZES[:2], None, "has 3 cameras, and there are 2 views"),
        ("colmap", [*NAMES, "d.jpg"], [*SIZES, SIZES[0]], None, "has 3 cameras, and there are 4 views"),
        ("walk.txt", NAMES[:2], SIZES[:2], LENS, "has 3 poses, and there are 2 views"),
        ("cameras.json", ["b.jpg", "c.jpg", "x.jpg"], SIZES, None, "has no camera for x.jpg"),
        ("cameras.json", NAMES, [(640, 472)] * 3, None, "of 640x480 pixels, the picture of 640x472"),
        ("cameras.json", NAMES, [(640, 400)] * 3, None, "of 640x480 pixels, the picture of 640x400"),
        ("walk.txt", NAMES, SIZES, None, "give --intrinsics"),
        ("colmap", NAMES, SIZES, LENS, "has intrinsics of its own"),
        ("nothing.json", NAMES, SIZES, None, "cannot be read"),
        ("broken.json", NAMES, SIZES, None, "no cameras.json of vmdepth-views"),
        ("turned.json", NAMES, SIZES, None, "are no rotation and shift"),
        ("short.txt", NAMES, SIZES, LENS, "line 1 is none of a trajectory"),
        ("opencv", NAMES, SIZES, None, "a camera is OPENCV; undistort"),
        ("binary", NAMES, SIZES, None, "make text of it"),
        ("empty", NAMES, SIZES, None, "cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(name, names, sizes, lens, line, written):
    (written / "broken.json").write_text("[]")
    text = json.loads((written / "cameras.json").read_text())
    text["views"][1]["extrinsics"][0][0] += 0.1
    (written / "turned.json").write_text(json.dumps(text))
    (written / "short.txt").write_text("0 1 2 3\n")
    for folder in ("opencv", "binary", "empty"):
        (written / folder).mkdir()
    (written / "opencv" / "cameras.txt").write_text("1 OPENCV 640 480 1 1 1 1 0 0 0 0\n")
    (written / "binary" / "images.bin").write_bytes(b"")
    with pytest.raises(InputError, match=line) as error:
        read_cameras(written / name, names, sizes, lens)
    assert str(error.value).startswith(str(written / name))
    assert "\n" not in str(error.value)
