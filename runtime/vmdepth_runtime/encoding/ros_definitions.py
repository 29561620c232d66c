"""The definitions of the messages in `ros_messages`, as recordings hold them beside the messages.

They are those of ROS 2's common_interfaces (https://github.com/ros2/common_interfaces, Apache 2.0), which are the same
from Humble on, without their comments. What a message holds follows it, as rosbag2 writes it: a line of "=" and its
name.
"""

from __future__ import annotations

_TIME = """
int32 sec
uint32 nanosec
"""
_HEADER = """
builtin_interfaces/Time stamp
string frame_id
"""
_POINT_FIELD = """
uint8 INT8=1
uint8 UINT8=2
uint8 INT16=3
uint8 UINT16=4
uint8 INT32=5
uint8 UINT32=6
uint8 FLOAT32=7
uint8 FLOAT64=8
string name
uint32 offset
uint8 datatype
uint32 count
"""
_REGION_OF_INTEREST = """
uint32 x_offset
uint32 y_offset
uint32 height
uint32 width
bool do_rectify
"""
_IMAGE = """
std_msgs/Header header
uint32 height
uint32 width
string encoding
uint8 is_bigendian
uint32 step
uint8[] data
"""
_COMPRESSED_IMAGE = """
std_msgs/Header header
string format
uint8[] data
"""
_CAMERA_INFO = """
std_msgs/Header header
uint32 height
uint32 width
string distortion_model
float64[] d
float64[9] k
float64[9] r
float64[12] p
uint32 binning_x
uint32 binning_y
RegionOfInterest roi
"""
_POINT_CLOUD_2 = """
std_msgs/Header header
uint32 height
uint32 width
PointField[] fields
bool is_bigendian
uint32 point_step
uint32 row_step
uint8[] data
bool is_dense
"""


def _whole(definition: str, **held: str) -> str:
    parts = {"std_msgs/Header": _HEADER, "builtin_interfaces/Time": _TIME, **held}
    return definition.lstrip() + "".join(f"{'=' * 80}\nMSG: {name}{part}" for name, part in parts.items())


DEFINITIONS = {
    "sensor_msgs/msg/Image": _whole(_IMAGE),
    "sensor_msgs/msg/CompressedImage": _whole(_COMPRESSED_IMAGE),
    "sensor_msgs/msg/CameraInfo": _whole(_CAMERA_INFO, **{"sensor_msgs/RegionOfInterest": _REGION_OF_INTEREST}),
    "sensor_msgs/msg/PointCloud2": _whole(_POINT_CLOUD_2, **{"sensor_msgs/PointField": _POINT_FIELD}),
}
"""By the names of the messages."""
