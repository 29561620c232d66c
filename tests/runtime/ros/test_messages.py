"""ROS's own message objects, filled; and that the stand-in refuses what ROS refuses."""

from array import array

import numpy as np
import pytest

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.encoding.ros_messages import camera_info, depth_image, point_cloud, stamp_of
from vmdepth_runtime.ros.messages import filled

STAMP = 1_700_000_000_987_654_321


def test_all_fields_arrive_as_they_were_given(rclpy):
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

    depth = np.arange(6, dtype=np.float32).reshape(2, 3)
    image = filled(Image, depth_image(STAMP, "front", depth, DEPTH_KINDS["metric"]))
    assert (image.height, image.width, image.encoding, image.step) == (2, 3, "32FC1", 12)
    assert image.data == array("B", depth.tobytes())
    assert (stamp_of(image.header), image.header.frame_id) == (STAMP, "front")
    bent = Distortion("equidistant", (0.1, 0.2, 0.3, 0.4))
    info = filled(CameraInfo, camera_info(STAMP, "front", PinholeCamera(4, 5, 1.5, 1), (3, 2), bent))
    assert (info.distortion_model, info.d.tolist()) == ("equidistant", [0.1, 0.2, 0.3, 0.4])
    assert (info.k.tolist(), info.roi.do_rectify) == ([4, 0, 1.5, 0, 5, 1, 0, 0, 1], False)
    cloud = PointCloud(np.ones((2, 3), np.float32), np.full((2, 3), 7, np.uint8))
    points = filled(PointCloud2, point_cloud(STAMP, "front", cloud), {"fields": PointField})
    assert [(field.name, field.offset, field.datatype) for field in points.fields][-1] == ("rgb", 12, 7)
    assert (points.width, points.row_step, len(points.data)) == (2, 32, 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 2.0), ("height", -1), ("encoding", b"rgb8"), ("is_bigendian", 256), ("header", {}),
        ("data", b"123"), ("data", array("H", [1])), ("depth", 1),
    ],
)  # fmt: skip
def test_a_message_takes_nothing_of_another_type(rclpy, name, value):
    from sensor_msgs.msg import Image

    with pytest.raises((AssertionError, AttributeError)):
        setattr(Image(), name, value)
