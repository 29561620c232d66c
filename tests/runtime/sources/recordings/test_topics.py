"""Which topic is meant, what is said where none or several could be, and what belongs to one."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from vmdepth_runtime import InputError, ReadSettings, open_source
from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding.ros_messages import depth_image


def other(entries, name):
    return [(topic.replace("/cam/", f"{name}/"), *rest) for topic, *rest in entries]


@pytest.fixture
def stereo(record, frames, tmp_path):
    """Two cameras, depth, and something else."""
    depth = depth_image(record.begin, "left", np.ones((28, 42), np.float32), DEPTH_KINDS["metric"])
    return record.mcap(
        tmp_path / "drive.mcap",
        [
            *record.camera(frames),
            *other(record.camera(frames[::-1], k=[50.0, 0, 20, 0, 50, 14, 0, 0, 1]), "/right"),
            ("/cam/depth", "sensor_msgs/msg/Image", record.begin, depth),
            ("/odometer", "std_msgs/msg/Float64", record.begin, {"data": 3.0}),
        ],
    )


def test_a_topic_is_named_where_there_are_several(stereo, frames):
    with open_source(stereo, read=ReadSettings(topic="/right/image_raw")) as source:
        assert np.array_equal(next(iter(source)).image, frames[-1])
        assert source.lens.pinhole == PinholeCamera(50, 50, 20, 14)


def test_what_cannot_be_meant_is_one_line_that_lists_what_can(record, stereo, tmp_path):
    both = "/cam/image_raw (sensor_msgs/msg/Image, 8), /right/image_raw (sensor_msgs/msg/Image, 8)"
    for topic, line in [
        (None, f"2 of its topics have pictures; --topic takes one: {both}"),
        ("/front", f"the topic /front is not in it; those with pictures are {both}"),
        ("/odometer", f"the topic /odometer holds no pictures (std_msgs/msg/Float64); those with pictures are {both}"),
        (
            "/cam/depth",
            f"the topic /cam/depth holds no pictures (sensor_msgs/msg/Image); those with pictures are {both}",
        ),
    ]:
        with pytest.raises(InputError) as error:
            open_source(stereo, read=ReadSettings(topic=topic))
        assert str(error.value) == f"{stereo}: {line}"
    blind = record.mcap(tmp_path / "blind.mcap", [("/odometer", "std_msgs/msg/Float64", 5, {"data": 3.0})])
    with pytest.raises(
        InputError, match=r"none of its topics has pictures .*; it has /odometer \(std_msgs/msg/Float64, 1\)"
    ):
        open_source(blind)
    with pytest.raises(InputError, match=r"none of its topics has pictures .*; it has no topic at all"):
        open_source(record.mcap(tmp_path / "empty.mcap", []))


def test_a_topic_is_of_recordings_alone():
    with pytest.raises(InputError, match=r"--topic /front: is of recordings of robots, and .*demo\.mp4 is none; leave"):
        open_source("demo", read=ReadSettings(topic="/front"))


def test_what_is_no_recording_is_one_line(tmp_path):
    for name, content, line in [
        ("a.mcap", b"no such thing", "is no MCAP file, whatever its name"),
        ("b.mcap", b"\x89MCAP0\r\n" + bytes(100), "it has no topic at all"),
        ("c.db3", b"no such thing" * 100, "cannot be read as a recording"),
        ("d.mcap", b"", "the file is empty"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=line) as error:
            open_source(tmp_path / name)
        assert "\n" not in str(error.value)


def test_without_the_libraries_a_line_says_how_to_get_them(stereo, monkeypatch):
    find = importlib.util.find_spec
    module = "vmdepth_runtime.sources.recordings.open.find_spec"
    monkeypatch.setattr(module, lambda name: None if name == "rosbags" else find(name))
    with pytest.raises(
        InputError, match=r"drive.mcap: is a recording of a robot; pip install 'vmdepth\[robots\]' brings"
    ):
        open_source(stereo)


@pytest.mark.parametrize(
    ("info", "distortion"),
    [
        ({"d": [0.1, 0.2, 0, 0, 0.3]}, Distortion("plumb_bob", (0.1, 0.2, 0, 0, 0.3))),
        ({"d": [0.1, 0.2, 0, 0]}, Distortion("plumb_bob", (0.1, 0.2, 0, 0, 0))),
        ({"distortion_model": "equidistant", "d": [0.1, 0, 0, 0]}, Distortion("equidistant", (0.1, 0, 0, 0))),
        (
            {"distortion_model": "rational_polynomial", "d": [0.1] * 8 + [0] * 4},
            Distortion("rational_polynomial", (0.1,) * 8),
        ),
        ({"distortion_model": "plumb_bob", "d": [0.0] * 5}, None),
        ({"distortion_model": "", "d": []}, None),
    ],
)
def test_distortion_is_that_of_the_camera_info(record, frames, tmp_path, info, distortion):
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames[:1], **info))) as source:
        assert source.lens.distortion == distortion
        assert source.warnings == []


def test_a_distortion_that_is_not_known_is_told(record, frames, tmp_path):
    info = {"distortion_model": "thin_prism", "d": [0.1] * 14}
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames[:1], **info))) as source:
        assert source.lens.pinhole == record.pinhole and source.lens.distortion is None
        (warning,) = source.warnings
        assert warning.startswith("drive.mcap: its ") and "'thin_prism'" in warning and "not heeded" in warning


def test_a_camera_is_the_part_that_was_recorded_and_rectified_where_its_pictures_are(record, frames, tmp_path):
    half = {"width": 84, "height": 56, "binning_x": 2, "binning_y": 2}  # calibrated at twice the size
    part = {
        "width": 84,
        "height": 56,
        "roi": {"x_offset": 10, "y_offset": 4, "width": 42, "height": 28, "do_rectify": False},
    }
    p = [30.0, 0, 19, 0, 0, 31, 13, 0, 0, 0, 1, 0]
    for name, info, camera in [
        ("/cam", half, PinholeCamera(20, 20.5, 20.5 / 2 - 0.5, 14.5 / 2 - 0.5)),
        ("/cam", {**part, "k": [40.0, 0, 30, 0, 41, 18, 0, 0, 1]}, PinholeCamera(40, 41, 20, 14)),
        ("/cam/image_rect", {"p": p, "d": [0.1] * 5}, PinholeCamera(30, 31, 19, 13)),
    ]:
        entries = record.camera(frames[:1], **info)
        if name.endswith("rect"):
            entries[1] = (name, *entries[1][1:])
        path = tmp_path / f"{len(info)}{name[-4:].replace('/', '_')}.mcap"
        with open_source(record.mcap(path, entries)) as source:
            assert source.lens.camera(42, 28) == camera and source.lens.distortion is None


def test_no_camera_is_taken_that_belongs_to_another_or_is_not_calibrated(record, frames, tmp_path):
    info, picture = record.camera(frames[:1])
    for number, (entries, known) in enumerate(
        [
            ([("/elsewhere/camera_info", *info[1:]), picture], True),  # of the same frame id
            ([("/elsewhere/camera_info", *info[1:]), record.image(frames[0], record.begin, frame_id="right")], False),
            (record.camera(frames[:1], k=[0.0] * 9), False),
            ([picture], False),
        ]
    ):
        with open_source(record.mcap(tmp_path / f"{number}.mcap", entries)) as source:
            assert (source.lens is not None) == known
            assert source.warnings == []


def test_a_camera_of_frames_of_another_shape_is_told_and_not_taken(record, frames, tmp_path):
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames[:1], width=64))) as source:
        assert source.lens is None
        assert "is of 64x28 frames, and drive.mcap is 42x28" in source.warnings[0]
