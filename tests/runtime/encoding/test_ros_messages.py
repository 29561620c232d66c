"""Messages of ROS 2: the fields are those of its definitions, as another library knows them, and mean what we have."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rosbags.typesys import Stores, get_typestore

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding import ros_messages
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.errors import InputError

STAMP = 1_700_000_000_123_456_789
CAMERA = PinholeCamera(50.5, 51.25, 31.5, 20.25)
STORE = get_typestore(Stores.ROS2_HUMBLE)
METRIC = DEPTH_KINDS["metric"]


@pytest.fixture
def depth() -> np.ndarray:
    made = np.random.default_rng(3).uniform(0.1, 60, (28, 42)).astype(np.float32)
    made[0, :4] = np.nan, np.inf, -1, 80
    return made


def as_message(name: str, fields: Any) -> Any:
    """A message of ROS's own class, which takes its fields and no others, read back from its CDR bytes."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(_object(name, fields), name), name)


def _object(name: str, fields: Any) -> Any:
    made = {}
    kinds = dict(STORE.fielddefs[name][1])
    assert set(kinds) == set(fields)
    for field, value in fields.items():
        if isinstance(value, dict):
            value = _object(kinds[field][1], value)
        elif isinstance(value, bytes):
            value = np.frombuffer(value, np.uint8)
        elif value and isinstance(value, list):
            inner = kinds[field][1][0][1]
            floats = isinstance(value[0], float)
            value = np.array(value) if floats else [_object(inner, entry) for entry in value]
        made[field] = value
    return STORE.types[name](**made)


def test_header_has_the_stamp_to_the_nanosecond() -> None:
    message = as_message("std_msgs/msg/Header", ros_messages.header(STAMP, "camera"))
    assert (message.stamp.sec, message.stamp.nanosec, message.frame_id) == (1_700_000_000, 123_456_789, "camera")


def test_metres_go_out_bit_by_bit(depth: np.ndarray) -> None:
    message = as_message("sensor_msgs/msg/Image", ros_messages.depth_image(STAMP, "camera", depth, METRIC))
    assert (message.encoding, message.height, message.width, message.step) == ("32FC1", 28, 42, 168)
    assert message.data.tobytes() == depth.tobytes()


def test_a_view_with_strides_goes_out_as_its_pixels(depth: np.ndarray) -> None:
    message = ros_messages.depth_image(STAMP, "camera", depth[::2, ::-1], METRIC)
    assert message["step"] == 4 * message["width"]
    assert message["data"] == np.ascontiguousarray(depth[::2, ::-1]).tobytes()


def test_millimetres_have_zero_for_what_they_do_not_hold(depth: np.ndarray) -> None:
    message = as_message("sensor_msgs/msg/Image", ros_messages.depth_image(STAMP, "camera", depth, METRIC, "16UC1"))
    assert (message.encoding, message.step) == ("16UC1", 84)
    held = message.data.view("<u2").reshape(28, 42)
    assert not held[0, :4].any()
    assert np.abs(held[1:] / 1000 - depth[1:]).max() <= 0.5e-3 + 1e-12


@pytest.mark.parametrize(
    ("kind", "encoding", "topic"),
    [
        ("relative", "32FC1; inverse relative", "/vmdepth/inverse_depth_relative/image"),
        ("scaled", "32FC1; scaled, no metres", "/vmdepth/depth_scaled/image"),
    ],
)
def test_what_is_no_metres_says_so_and_is_no_millimetres(
    depth: np.ndarray, kind: str, encoding: str, topic: str
) -> None:
    meant = DEPTH_KINDS[kind]
    message = ros_messages.depth_image(STAMP, "camera", depth, meant)
    assert message["encoding"] == encoding
    assert message["data"] == depth.tobytes()
    assert ros_messages.depth_topic(meant) == topic
    with pytest.raises(InputError, match="16UC1: is millimetres"):
        ros_messages.depth_image(STAMP, "camera", depth, meant, "16UC1")


def test_every_kind_of_depth_has_a_topic_and_an_encoding_of_its_own() -> None:
    topics = ros_messages.depth_topic, ros_messages.camera_info_topic, ros_messages.points_topic
    for of in (*topics, ros_messages.image_encoding):
        assert len({of(kind) for kind in DEPTH_KINDS.values()}) == len(DEPTH_KINDS)


def test_the_camera_is_beside_the_depth_where_image_transport_looks_for_it() -> None:
    for kind in DEPTH_KINDS.values():
        beside = ros_messages.depth_topic(kind).rpartition("/")[0]
        assert ros_messages.camera_info_topic(kind) == f"{beside}/camera_info"
        assert ros_messages.colours_topic(kind) == f"{beside}/colours/compressed"


def test_colour_is_a_jpeg_of_the_picture() -> None:
    image = np.zeros((28, 42, 3), np.uint8)
    image[:, 21:] = 250, 20, 10
    message = as_message("sensor_msgs/msg/CompressedImage", ros_messages.colour_image(STAMP, "camera", image))
    assert message.format == "jpeg"
    with Image.open(io.BytesIO(message.data.tobytes())) as picture:
        assert picture.format == "JPEG"
        assert np.abs(np.asarray(picture).astype(int) - image)[:, 24:].max() < 8


def test_camera_info_of_a_pinhole_bends_nothing() -> None:
    message = as_message("sensor_msgs/msg/CameraInfo", ros_messages.camera_info(STAMP, "camera", CAMERA, (64, 40)))
    assert (message.width, message.height, message.distortion_model) == (64, 40, "plumb_bob")
    assert message.k.tolist() == [50.5, 0, 31.5, 0, 51.25, 20.25, 0, 0, 1]
    assert message.p.reshape(3, 4)[:, :3].ravel().tolist() == message.k.tolist()
    assert message.d.tolist() == [0] * 5


def test_camera_info_has_the_distortion() -> None:
    fisheye = Distortion("equidistant", (0.1, -0.02, 0.003, -0.0004))
    fields = ros_messages.camera_info(STAMP, "camera", CAMERA, (64, 40), fisheye)
    message = as_message("sensor_msgs/msg/CameraInfo", fields)
    assert (message.distortion_model, tuple(message.d)) == ("equidistant", fisheye.coefficients)


@pytest.mark.parametrize("count", [0, 5])
def test_points_carry_their_colours(count: int) -> None:
    random = np.random.default_rng(4)
    cloud = PointCloud(random.normal(size=(count, 3)).astype(np.float32), random.integers(0, 256, (count, 3), np.uint8))
    message = as_message("sensor_msgs/msg/PointCloud2", ros_messages.point_cloud(STAMP, "camera", cloud))
    assert [(field.name, field.offset, field.datatype) for field in message.fields] == [
        ("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("rgb", 12, 7),
    ]  # fmt: skip
    points = message.data.view([("xyz", "<f4", 3), ("rgb", "<u4")])
    assert len(points) == message.width == count
    assert np.array_equal(points["xyz"], cloud.points)
    assert points["rgb"].tolist() == [(r << 16) | (g << 8) | b for r, g, b in cloud.colours.tolist()]
