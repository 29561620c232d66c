"""Sources to compare and calibrate on: the frames of one video, where a model remembers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vmdepth_export.parity.frames import source_frames
from vmdepth_export.parity.proof import compare_models
from vmdepth_export.parity.settings import ParitySettings
from vmdepth_runtime import InputError, bundled
from vmdepth_runtime.encoding.ros_definitions import DEFINITIONS
from vmdepth_runtime.encoding.ros_messages import header


def test_pictures_of_different_sizes_are_no_stream_for_a_model_that_remembers(tmp_path):
    for k, width in enumerate((64, 64, 80)):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((48, width, 3), 40 * k, np.uint8))
    with pytest.raises(InputError, match="its images differ in size, so they are no video"):
        list(source_frames(str(tmp_path), 10, 28, 42, 2))
    frames = list(source_frames(str(tmp_path), 10, 28, 42, 2, remembers=False))
    assert [(frame.shape, frame[1, 0, 0, 0]) for frame in frames] == [((2, 28, 42, 3), 40 * k) for k in range(3)]
    assert len(list(source_frames(str(tmp_path / "2.png"), 10, 28, 42, 1))) == 1


def test_a_recording_of_a_robot_is_one_by_its_topic(tmp_path):
    """Written by mcap-ros2-support, which does not read it."""
    writer = pytest.importorskip("mcap_ros2.writer")
    pixels = np.arange(28 * 42 * 3, dtype=np.uint8).reshape(28, 42, 3)
    with (tmp_path / "drive.mcap").open("wb") as file, writer.Writer(file) as recorder:
        schema = recorder.register_msgdef("sensor_msgs/msg/Image", DEFINITIONS["sensor_msgs/msg/Image"])
        for topic, image in (("/left", pixels), ("/right", pixels[::-1])):
            message = {"height": 28, "width": 42, "encoding": "rgb8", "is_bigendian": 0, "step": 126}
            recorder.write_message(topic, schema, {"header": header(9, ""), **message, "data": image.tobytes()})
    (frame,) = source_frames(str(tmp_path / "drive.mcap"), 10, 28, 42, 1, topic="/right")
    assert np.array_equal(frame[0], pixels[::-1])
    with pytest.raises(InputError, match="2 of its topics have pictures; --topic takes one: /left"):
        next(source_frames(str(tmp_path / "drive.mcap"), 10, 28, 42, 1))
    both = ParitySettings(bundled.MODEL, bundled.MODEL, source=str(tmp_path / "drive.mcap"), topic="/left", frames=2)
    assert compare_models(both).agrees
