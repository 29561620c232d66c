"""What calibration files say of distortion, in the forms that people have them in."""

from __future__ import annotations

import json

import pytest

from vmdepth_runtime import InputError, Lens
from vmdepth_runtime.camera.distortion import Distortion

ROS_FILE = """image_width: 640
image_height: 480
camera_name: narrow_stereo/left
camera_matrix:
  rows: 3
  cols: 3
  data: [525.5, 0.000000, 319.25, 0.000000, 524.5, 239.75, 0.000000, 0.000000, 1.000000]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361976, 0.110510, 0.001014, 0.000505, 0.000000]
rectification_matrix:
  rows: 3
  cols: 3
  data: [0.9999, 0.01, 0.002, -0.01, 0.9999, 0.003, -0.002, -0.003, 0.9999]
projection_matrix:
  rows: 3
  cols: 4
  data: [480.0, 0.0, 310.0, -50.0, 0.0, 480.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""
ECHO_ITEMS = "".join(f"- {number}\n" for number in (525.5, 0.0, 319.25, 0.0, 524.5, 239.75, 0.0, 0.0, 1.0))
ROS_ECHO = f"""header:
  frame_id: camera
height: 480
width: 640
distortion_model: rational_polynomial
d:
- 0.5
- -2.25
- 0.001
- -0.0002
- 1.5
- 0.375
- -2.125
- 1.4
k:
{ECHO_ITEMS}---
"""
OPENCV_FISHEYE = """%YAML:1.0
---
image_width: 640
image_height: 480
fisheye_model: 1
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.255e+02, 0., 319.25, 0., 524.5, 239.75, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 4
   cols: 1
   dt: d
   data: [ -1.5e-02, 1.25e-02, -8.0e-03, 1.5e-03 ]
"""
KALIBR = """cam0:
  T_cam_imu:
  - [0.014, -0.999, 0.004, -0.02]
  - [0.0, 0.0, 0.0, 1.0]
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0003, -0.0002]
  distortion_model: radtan
  intrinsics: [525.5, 524.5, 319.25, 239.75]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
"""
ORB_SLAM = """%YAML:1.0
Camera.type: "KannalaBrandt8"
Camera.fx: 525.5
Camera.fy: 524.5
Camera.cx: 319.25
Camera.cy: 239.75
Camera.k1: -0.015
Camera.k2: 0.0125
Camera.k3: -0.008
Camera.k4: 0.0015
Camera.width: 640
Camera.height: 480
"""
ORB_SLAM_3 = """%YAML:1.0
Camera.type: "PinHole"
Camera1.fx: 525.5
Camera1.fy: 524.5
Camera1.cx: 319.25
Camera1.cy: 239.75
Camera1.k1: -0.015
Camera1.k2: 0.0125
Camera1.p1: 0.001
Camera1.p2: 0.0
Camera.width: 640
Camera.height: 480
"""
PLAIN = "width: 640\nheight: 480\nfx: 525.5\nfy: 524.5\ncx: 319.25\ncy: 239.75\n"
JSON = json.dumps(
    {"K": [525.5, 0, 319.25, 0, 524.5, 239.75, 0, 0, 1], "width": 640, "height": 480, "dist_coeffs": [0.1, -0.2, 0, 0]}
)
FISHEYE = Distortion("equidistant", (-0.015, 0.0125, -0.008, 0.0015))


def read(tmp_path, text):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    lens = Lens.of(intrinsics=path)
    camera = lens.camera(640, 480)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (525.5, 524.5, 319.25, 239.75)
    assert lens.size == (640, 480)
    return lens.distortion


@pytest.mark.parametrize(
    ("text", "distortion"),
    [
        (ROS_FILE, Distortion("plumb_bob", (-0.361976, 0.11051, 0.001014, 0.000505, 0.0))),
        (ROS_ECHO, Distortion("rational_polynomial", (0.5, -2.25, 0.001, -0.0002, 1.5, 0.375, -2.125, 1.4))),
        (OPENCV_FISHEYE, FISHEYE),
        (OPENCV_FISHEYE.replace("fisheye_model: 1", "distortion_model: fisheye"), FISHEYE),
        (OPENCV_FISHEYE.replace("_model: 1", "_model: 0"), Distortion("plumb_bob", (*FISHEYE.coefficients, 0.0))),
        (KALIBR, Distortion("plumb_bob", (-0.28, 0.07, 0.0003, -0.0002, 0.0))),
        (KALIBR.replace("radtan", "equidistant"), Distortion("equidistant", (-0.28, 0.07, 0.0003, -0.0002))),
        (KALIBR.replace("radtan", "none"), None),
        (ORB_SLAM, FISHEYE),
        (ORB_SLAM_3, Distortion("plumb_bob", (-0.015, 0.0125, 0.001, 0.0, 0.0))),
        (JSON, Distortion("plumb_bob", (0.1, -0.2, 0.0, 0.0, 0.0))),
        (PLAIN, None),
        (PLAIN + "k1: 0.1\n", Distortion("plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0))),
        (PLAIN + "k1: 0.1\nk2: 0.2\nk3: 0\nk4: 0.3\ndistortion_model: equidistant\n",
         Distortion("equidistant", (0.1, 0.2, 0.0, 0.3))),
        (PLAIN + "D: [0.0, 0.0, 0.0, 0.0, 0.0]\ndistortion_model: plumb_bob\n", None),
        (PLAIN + "D: [0.0, 0.0, 0.0, 0.0]\ndistortion_model: equidistant\n", Distortion("equidistant", (0.0,) * 4)),
        (PLAIN + "D: []\ndistortion_model: ''\n", None),
        (PLAIN + "D: [0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n", Distortion("plumb_bob", (0.1, 0, 0, 0, 0))),
        (PLAIN + "D: [0.1, 0, 0, 0, 0, 0, 0, 0, 0.01]\n",
         Distortion("rational_polynomial", (0.1, 0, 0, 0, 0, 0, 0, 0, 0.01, 0, 0, 0))),
    ],
)  # fmt: skip
def test_distortion_is_read_in_every_form(tmp_path, text, distortion):
    assert read(tmp_path, text) == distortion


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROS_FILE.replace("plumb_bob", "fov"), "camera.yaml: has the distortion model 'fov'; known are plumb_bob"),
        (ROS_FILE.replace("plumb_bob", "equidistant").replace("505, 0.0", "505, 0.1"),
         "camera.yaml: equidistant has 4 finite coefficients at most, not -0.361976, 0.11051, 0.001014, 0.000505, 0.1"),
        (ROS_FILE.replace("0.110510", ".Nan"), "camera.yaml: plumb_bob has 5 finite coefficients at most, not .*nan"),
        (KALIBR + KALIBR.replace("cam0", "cam1"), "camera.yaml: is of 2 cameras, cam0, cam1; leave in it the one"),
        (PLAIN + "D: [a, b]\n", "camera.yaml: its D is no list of numbers; give k1, k2, p1, p2, k3"),
        (PLAIN + "distortion_coefficients: wide\n", "camera.yaml: its distortion_coefficients is no list of numbers"),
        (KALIBR.replace("[525.5", "[1.2, 525.5"), "camera.yaml: has no intrinsics"),  # omnidirectional
        (OPENCV_FISHEYE.replace("fisheye_model: 1\n", ""),
         "its distortion_coefficients has four numbers, of a fisheye or not, .* add 'distortion_model: equidistant'"),
        (PLAIN + "k1: 0.1\nk2: 0.2\nk3: 0\nk4: 0.3\n", "has k1 to k4 and no p1, p2, and does not say what they mean"),
    ],
)  # fmt: skip
def test_distortion_that_is_not_known_is_refused_in_a_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)
