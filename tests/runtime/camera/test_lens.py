"""What is said of a camera, in all its forms, and what does not fit its frames."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vmdepth_runtime import InputError
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera

ROS_FILE = """image_width: 640
image_height: 480
camera_name: narrow_stereo/left
camera_matrix:
  rows: 3
  cols: 3
  data: [525.5, 0.000000, 319.25,
         0.000000, 524.5, 239.75, 0.000000, 0.000000, 1.000000]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361976, 0.110510, 0.001014, 0.000505, 0.000000]
"""
ROS_ECHO = """header:
  stamp:
    sec: 1700000000
    nanosec: 5
  frame_id: camera
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.0
- 0.0
k:
- 525.5
- 0.0
- 319.25
- 0.0
- 524.5
- 239.75
- 0.0
- 0.0
- 1.0
roi:
  x_offset: 0
  do_rectify: false
---
"""
OPENCV = """%YAML:1.0
---
calibration_time: "Tue 04 Mar 2025"
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.255e+02, 0., 319.25, 0., 524.5, 239.75, 0., 0., 1. ]
"""
ORB_SLAM = """%YAML:1.0

# Camera calibration
Camera.fx: 525.5
Camera.fy: 524.5
Camera.cx: 319.25
Camera.cy: 239.75
Camera.width: 640
Camera.height: 480
"""
ROS_1 = "width: 640\nheight: 480\nK: [525.5, 0.0, 319.25, 0.0, 524.5, 239.75, 0.0, 0.0, 1.0]\n"
PLAIN = "fx: 525.5\nfy: 524.5\ncx: 319.25\ncy: 239.75\n"
JSON = json.dumps({"width": 640, "height": 480, "fx": 525.5, "fy": 524.5, "cx": 319.25, "cy": 239.75, "note": None})

CAMERA = PinholeCamera(525.5, 524.5, 319.25, 239.75)


@pytest.mark.parametrize("text", [ROS_FILE, ROS_ECHO, OPENCV, ORB_SLAM, ROS_1, JSON, PLAIN])
def test_a_calibration_is_read_and_fits_frames_of_its_shape(tmp_path, text):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    for lens in (Lens.of(intrinsics=path), Lens.of(intrinsics=str(path))):
        assert lens.camera(640, 480) == CAMERA
        assert lens.given == str(path)
    if text is PLAIN:
        assert lens.size is None
    else:
        half = lens.camera(320, 240)
        assert (half.fx, half.fy, half.cx, half.cy) == (262.75, 262.25, 159.375, 119.625)  # pixels' middles count


def test_numbers_are_read_as_text_and_as_they_are():
    assert Lens.of(intrinsics="525.5, 524.5,319.25,239.75").camera(640, 480) == CAMERA
    assert Lens.of(intrinsics=(525.5, 524.5, 319.25, 239.75)).camera(640, 480) == CAMERA
    assert Lens.of(intrinsics=np.array([525.5, 524.5, 319.25, 239.75])).camera(640, 480) == CAMERA
    assert Lens.of() is None
    assert Lens.of(intrinsics=Lens.of(intrinsics="525.5,524.5,319.25,239.75")).camera(640, 480) == CAMERA


def test_a_field_of_view_is_of_the_width_and_what_is_assumed_of_the_longer_side():
    wide, tall = Lens.of(fov=90).camera(200, 100), Lens.of(fov=90).camera(100, 200)
    assert (wide.fx, wide.fy, wide.cx, wide.cy) == pytest.approx((100, 100, 99.5, 49.5))
    assert tall.fx == pytest.approx(50)
    assert Lens.assume().camera(200, 100).fx == Lens.assume().camera(100, 200).fx == pytest.approx(173.205)


@pytest.mark.parametrize(
    ("intrinsics", "message"),
    [
        ("1,2,3", "intrinsics 1,2,3: intrinsics are fx, fy, cx, cy"),
        ("1,2,3,x", "intrinsics 1,2,3,x: intrinsics are"),
        ("0,2,3,4", "fx and fy above 0"),
        ("-5,2,3,4", "fx and fy above 0"),
        ("inf,2,3,4", "fx and fy above 0"),
        ("nan,2,3,4", "fx and fy above 0"),
        ((1, 2), "intrinsics are fx, fy, cx, cy"),
        ([[5, 0, 3], [0, 5, 2], [0, 0, 1]], "intrinsics are fx, fy, cx, cy"),
        (np.eye(3), "intrinsics are fx, fy, cx, cy"),
        ("1," * 200, "intrinsics 1,1,.*: intrinsics are fx, fy, cx, cy"),  # longer than names of files can be
        ("missing.yaml", "missing.yaml: no such file; give a calibration"),
        ("525", "525: no such file; give a calibration"),
        ("folder", r"folder: cannot be read \(Is a directory\)"),
        ("binary.yaml", r"binary.yaml: cannot be read \(is no text\)"),
        ("broken.yaml", "broken.yaml: cannot be read as YAML or JSON"),
        ("empty.yaml", "empty.yaml: "),
        ("other.yaml", "other.yaml: has no intrinsics"),
        ("short.yaml", "short.yaml: has no intrinsics"),
        ("zero.yaml", "zero.yaml: intrinsics are fx, fy, cx, cy in pixels, fx and fy above 0"),
    ],
)
def test_what_cannot_be_intrinsics_is_refused_in_a_line(tmp_path, monkeypatch, intrinsics, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "broken.yaml").write_text("camera_matrix: [1, 2\nworld: {")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "other.yaml").write_text("sources: 4\n")
    (tmp_path / "short.yaml").write_text("K: [1.0, 2.0]\n")
    (tmp_path / "zero.yaml").write_text("fx: 0\nfy: 0\ncx: 3\ncy: 4\n")
    with pytest.raises(InputError, match=message) as refused:
        Lens.of(intrinsics=intrinsics)
    assert "\n" not in str(refused.value)


def test_a_file_with_a_mark_before_it_or_a_size_that_cannot_be(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(PLAIN, encoding="utf-8-sig")  # as editors of Windows do
    assert Lens.of(intrinsics=path).camera(640, 480) == CAMERA
    for size in (
        "image_width: .inf\nimage_height: 480\n",
        "width: .nan\nheight: .nan\n",
        "width: 0\nheight: -1\n",
        "width: 0.4\nheight: 480\n",
        "resolution: [640]\n",
        "resolution: [640, 480, 3]\n",
    ):
        path.write_text(PLAIN + size)
        assert Lens.of(intrinsics=path).size is None


@pytest.mark.parametrize("fov", [0, 180, -3, float("nan")])
def test_a_field_of_view_that_cannot_be_is_refused(fov):
    with pytest.raises(InputError, match="between 0 and 180"):
        Lens.of(fov=fov)


def test_intrinsics_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "camera.yaml").write_text(ROS_FILE)
    lens = Lens.of(intrinsics=tmp_path / "camera.yaml")
    with pytest.raises(InputError, match=r"is of 640x480 frames, and walk.mp4 is 960x540, of another shape"):
        lens.camera(960, 540, "walk.mp4")
    with pytest.raises(InputError, match=r"principal point 319.25,239.75 is far from the middle of walk.mp4, which is"):
        Lens.of(intrinsics=(525, 525, 319.25, 239.75)).camera(320, 200, "walk.mp4")
    for focal in (1, 1e9):
        with pytest.raises(InputError, match=r"walk.mp4, which is 640x480, would be .* degrees wide"):
            Lens.of(intrinsics=(focal, focal, 320, 240)).camera(640, 480, "walk.mp4")
    with pytest.raises(InputError, match="--fov 60 and intrinsics both say"):
        Lens.of(60, (1, 1, 1, 1))


def test_numbers_of_frames_of_another_size_are_given_away_by_their_middle(tmp_path):
    lens = Lens.of(intrinsics="525,525,320,240")
    assert lens.camera(640, 480).cx == lens.camera(640, 400).cx == 320
    for size in ((1920, 1080), (320, 240), (640, 1080)):
        with pytest.raises(InputError, match=r"are they of 640x480\? give them for this size, or a file that says its"):
            lens.camera(*size)
    (tmp_path / "crop.json").write_text(JSON.replace("319.25", "100.0"))
    assert Lens.of(intrinsics=tmp_path / "crop.json").camera(640, 480).cx == 100  # of a picture cut out, and says so
    with pytest.raises(InputError, match="-9,240 is far from the middle of the picture, which is 640x480; give them"):
        Lens.of(intrinsics=(525, 525, -9, 240)).camera(640, 480)
