"""Depth, camera, colour and points as messages of ROS 2: the fields of its sensor_msgs, by their names, and no more.

Whoever writes, publishes or shows them makes its own messages of these. Frames look as REP 103 has optical frames: x
right, y down, z forward. Depth is as REP 118 has it, along z, and only depth in metres has the encodings that it
names: what is up to a factor, or inverse, says so in its encoding and its topic, so that nobody takes it for metres.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.encoding.depth_encodings import DepthEncoding, check_encoding
from vmdepth_runtime.encoding.pictures import DEEPEST, PER_METRE, picture
from vmdepth_runtime.encoding.points import PointCloud

Message: TypeAlias = dict[str, Any]
"""The fields of a message; one within it is a dict likewise, an array of bytes is `bytes`."""

COLOUR_TOPIC = "/vmdepth/colour/compressed"
POINT_BYTES = 16
"""Of each point of a cloud."""

_POINTS_TOPICS = {
    "metric": "/vmdepth/points",
    "scaled": "/vmdepth/points_scaled",
    "relative": "/vmdepth/points_relative",
}
_DEPTH = {
    "metric": "/vmdepth/depth",
    "scaled": "/vmdepth/depth_scaled",
    "relative": "/vmdepth/inverse_depth_relative",
}
_REMARKS = {"metric": "", "scaled": "; scaled, no metres", "relative": "; inverse relative"}
FARTHEST = DEEPEST / PER_METRE
"""Metres, beyond which depth in millimetres does not go."""
_FLOAT32 = 7  # a datatype of sensor_msgs/PointField


def depth_topic(kind: DepthKind) -> str:
    """Where depth of a kind is published: another name for each, since they mean other things."""
    return f"{_DEPTH[kind.name]}/image"


def camera_info_topic(kind: DepthKind) -> str:
    """Where the camera of depth of a kind is published: beside its image, where image_transport looks for it."""
    return f"{_DEPTH[kind.name]}/camera_info"


def colours_topic(kind: DepthKind) -> str:
    """Where depth of a kind is published as a coloured picture."""
    return f"{_DEPTH[kind.name]}/colours/compressed"


def points_topic(kind: DepthKind) -> str:
    """Where points of depth of a kind are published: those of depth without a unit are in none either."""
    return _POINTS_TOPICS[kind.name]


def image_encoding(kind: DepthKind, encoding: DepthEncoding = "32FC1") -> str:
    """What `sensor_msgs/Image.encoding` says of depth of a kind: "32FC1" or "16UC1" of metres; "32FC1; inverse
    relative" and "32FC1; scaled, no metres" of what is laid out like the first and means something else.

    Raises:
        InputError: millimetres are asked for of depth that is not in metres.
    """
    check_encoding(kind, encoding)
    return encoding + _REMARKS[kind.name]


def header(stamp: int, frame_id: str) -> Message:
    """`std_msgs/Header`. stamp: nanoseconds since 1970."""
    seconds, nanoseconds = divmod(stamp, 10**9)
    return {"stamp": {"sec": seconds, "nanosec": nanoseconds}, "frame_id": frame_id}


def stamp_of(header: Any) -> int:
    """Nanoseconds since 1970 of a `std_msgs/Header`, whoever made it."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def depth_image(
    stamp: int, frame_id: str, depth: NDArray[np.float32], kind: DepthKind, encoding: DepthEncoding = "32FC1"
) -> Message:
    """`sensor_msgs/Image` of a depth map.

    Args:
        stamp: when the camera took the frame, nanoseconds since 1970.
        frame_id: of the camera.
        depth: float32 `[H, W]`; NaN where there is none, as REP 118 has it.
        kind: what its numbers mean.
        encoding: "32FC1": as they are, bit by bit; "16UC1": `millimetres`.

    Raises:
        InputError: millimetres are asked for of depth that is not in metres.
    """
    named = image_encoding(kind, encoding)
    pixels = millimetres(depth) if encoding == "16UC1" else depth
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return {
        "header": header(stamp, frame_id),
        "height": depth.shape[0],
        "width": depth.shape[1],
        "encoding": named,
        "is_bigendian": 0,
        "step": little.strides[0],
        "data": little.tobytes(),
    }


def millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Metres in whole millimetres: uint16 `[H, W]`, 0 where there is no depth, it is not above 0, or it is beyond
    `FARTHEST`: a robot is better off without than with a wall there. depth: float32 `[H, W]`."""
    counted = np.rint(depth * np.float64(PER_METRE))  # in float32 the product would be rounded before
    return np.where((depth > 0) & (depth <= FARTHEST), counted, 0).astype(np.uint16)


def colour_image(stamp: int, frame_id: str, image: NDArray[np.uint8]) -> Message:
    """`sensor_msgs/CompressedImage`, JPEG. image: uint8 `[H, W, 3]` RGB. Otherwise as of `depth_image`."""
    return {"header": header(stamp, frame_id), "format": "jpeg", "data": picture(image, ".jpg")}


def camera_info(
    stamp: int, frame_id: str, camera: PinholeCamera, size: tuple[int, int], distortion: Distortion | None = None
) -> Message:
    """`sensor_msgs/CameraInfo` of a single camera.

    Args:
        stamp: of the frame that it belongs to, nanoseconds since 1970.
        frame_id: likewise.
        camera: in pixels of the frames. ROS counts them as we do: the middle of the first is (0, 0).
        size: width and height of the frames.
        distortion: how it bends lines; None: not at all, which is "plumb_bob" with zeros.
    """
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    return {
        "header": header(stamp, frame_id),
        "height": size[1],
        "width": size[0],
        "distortion_model": distortion.model if distortion else "plumb_bob",
        "d": list(distortion.coefficients) if distortion else [0.0] * 5,
        "k": [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        "r": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "p": [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        "binning_x": 0,
        "binning_y": 0,
        "roi": {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False},
    }


def point_cloud(stamp: int, frame_id: str, cloud: PointCloud) -> Message:
    """`sensor_msgs/PointCloud2`: x, y, z, and colour as PCL packs it, 0x00RRGGBB in the bits of a float `rgb`.
    Arguments as of `depth_image`."""
    count = len(cloud.points)
    packed = np.zeros((count, POINT_BYTES), np.uint8)
    packed[:, :12] = np.ascontiguousarray(cloud.points, "<f4").view(np.uint8).reshape(count, 12)
    packed[:, 12:15] = cloud.colours[:, ::-1]
    return {
        "header": header(stamp, frame_id),
        "height": 1,
        "width": count,
        "fields": [
            {"name": name, "offset": 4 * place, "datatype": _FLOAT32, "count": 1}
            for place, name in enumerate(("x", "y", "z", "rgb"))
        ],
        "is_bigendian": False,
        "point_step": POINT_BYTES,
        "row_step": POINT_BYTES * count,
        "data": packed.tobytes(),
        "is_dense": True,
    }
