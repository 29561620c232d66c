"""Recordings whose camera bends lines, as their CameraInfo says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vmdepth_runtime import Lens, Rectifier, open_source
from vmdepth_runtime.camera.distortion import Distortion

FISHEYE = {"distortion_model": "equidistant", "d": [0.02, -0.01, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("told", "distortion"),
    [
        ({"d": [-0.3, 0.08, 0.001, 0.0, 0.0]}, Distortion("plumb_bob", (-0.3, 0.08, 0.001, 0.0, 0.0))),
        (FISHEYE, Distortion("equidistant", (0.02, -0.01, 0.0, 0.0))),
        ({**FISHEYE, "d": [0.0] * 4}, Distortion("equidistant", (0.0,) * 4)),  # bends all the same
        ({"d": [0.0] * 5}, None),
        ({"distortion_model": "", "d": []}, None),
    ],
)
def test_a_source_says_how_its_camera_bends_lines(record, frames, tmp_path, told, distortion):
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames[:2], **told))) as source:
        assert source.lens.distortion == distortion
        assert source.warnings == []


def test_a_distortion_that_is_not_known_is_told_and_not_heeded(record, frames, tmp_path):
    told = {"distortion_model": "thin_prism_fisheye", "d": [0.1] * 8}
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames[:2], **told))) as source:
        assert source.lens.pinhole == record.pinhole
        assert source.lens.distortion is None
        (line,) = source.warnings
    assert "drive.mcap: its CameraInfo: has the distortion model 'thin_prism_fisheye'; known are plumb_bob" in line


def test_a_recording_is_rectified_by_the_camera_that_it_says(vmdepth_run, record, frames, tmp_path):
    frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in frames])
    record.mcap(tmp_path / "drive.mcap", record.camera(frames, **FISHEYE))
    lens = Lens("", pinhole=record.pinhole, distortion=Distortion("equidistant", (0.02, -0.01, 0, 0)))
    straight = np.stack([Rectifier(lens, 42, 28)(frame) for frame in frames])
    record.mcap(tmp_path / "straight.mcap", record.camera(straight))
    assert vmdepth_run("drive.mcap", "--rectify", "-o", "a.npz", "-o", "a/%d.ply").code == 0
    assert vmdepth_run("straight.mcap", "-o", "b.npz").code == 0
    assert vmdepth_run("drive.mcap", "-o", "c.npz").code == 0
    own, given, bent = (np.load(tmp_path / f"{k}.npz")["depth"] for k in "abc")
    np.testing.assert_array_equal(own, given)
    assert (own != bent).any()
    assert len(list((tmp_path / "a").glob("*.ply"))) == len(frames)
    outcome = vmdepth_run("straight.mcap", "--rectify", "-o", "d.npz")
    assert outcome.code == 2
    assert "CameraInfo of /cam/image_raw: says nothing of distortion, so there is nothing" in outcome.lines[-1]
    record.mcap(tmp_path / "alone.mcap", [record.image(frame, record.begin) for frame in frames[:2]])
    outcome = vmdepth_run("alone.mcap", "--rectify", "-o", "d.npz")
    assert outcome.code == 2
    assert "alone.mcap: says nothing of its camera; --rectify needs --camera FILE, a calibration" in outcome.lines[-1]
    outcome = vmdepth_run("drive.mcap", "--rectify", "--align-to", "/lidar", "-o", "d.npz")
    assert outcome.code == 2
    assert "--align-to /lidar: is of frames as they are, not rectified; leave --rectify out" in outcome.lines[-1]
