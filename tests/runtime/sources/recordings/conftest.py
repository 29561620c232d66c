"""Recordings as robots make them, written by the library that does not read them: MCAP files by mcap-ros2-support,
rosbag2 folders by rosbags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.encoding.ros_messages import camera_info, header

pytest.importorskip("mcap_ros2")
pytest.importorskip("rosbags")

SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND + 123  # nanoseconds since 1970
INTERVAL = SECOND // 10
HEIGHT, WIDTH = 28, 42
CAMERA = PinholeCamera(40.0, 41.0, 20.0, 14.0)
Entry = tuple[str, str, int, dict[str, Any]]  # topic, type, when it was recorded, fields


@cache
def definition(kind: str) -> str:
    from rosbags.typesys import Stores, get_typestore

    return str(get_typestore(Stores.ROS2_HUMBLE).generate_msgdef(kind, ros_version=2)[0])


def write_mcap(path: Path, entries: Sequence[Entry], *, finish: bool = True, **options: Any) -> Path:
    """An MCAP file; each frame of `camera` has a chunk. finish: else it ends as after kill -9."""
    from mcap_ros2.writer import Writer

    with path.open("wb") as file:
        writer = Writer(file, **{"chunk_size": HEIGHT * WIDTH * 3, **options})
        schemas = {kind: writer.register_msgdef(kind, definition(kind)) for _, kind, _, _ in entries}
        for topic, kind, time, message in entries:
            writer.write_message(topic, schemas[kind], message, log_time=time, publish_time=time)
        if finish:
            writer.finish()
    return path


def write_bag(path: Path, entries: Sequence[Entry], *, plugin: str = "SQLITE3", compression: str = "NONE") -> Path:
    """A rosbag2 folder."""
    from mcap_ros2._dynamic import serialize_dynamic
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    writer = Writer(path, version=9, storage_plugin=StoragePlugin[plugin])
    writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    store, connections, encoders = get_typestore(Stores.ROS2_HUMBLE), {}, {}
    with writer:
        for topic, kind, time, message in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
                encoders[topic] = serialize_dynamic(kind, definition(kind))[kind]
            writer.write(connections[topic], time, encoders[topic](message))
    return path


def image(pixels: NDArray[Any], stamp: int, encoding: str = "rgb8", frame_id: str = "left", **changes: Any) -> Entry:
    """An entry of /cam/image_raw, recorded a millisecond after its stamp."""
    fields = {
        "header": header(stamp, frame_id),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels.strides[0],
        "data": pixels.tobytes(),
    }
    return "/cam/image_raw", "sensor_msgs/msg/Image", stamp + 10**6, {**fields, **changes}


def camera(pixels: NDArray[np.uint8], stamps: Sequence[int] = (), **info: Any) -> list[Entry]:
    """Frames `[N, H, W, 3]` of a camera, each with its CameraInfo. stamps: by default evenly from `BEGIN`."""
    entries = []
    for number, frame in enumerate(pixels):
        stamp = stamps[number] if stamps else BEGIN + number * INTERVAL
        told = {**camera_info(stamp, "left", CAMERA, (frame.shape[1], frame.shape[0])), **info}
        entries.append(("/cam/camera_info", "sensor_msgs/msg/CameraInfo", stamp + 2 * 10**6, told))
        entries.append(image(frame, stamp))
    return entries


@dataclass(frozen=True)
class Record:
    """The builders above, for tests: `--import-mode=importlib` keeps them from being imported."""

    mcap: Callable[..., Path] = write_mcap
    bag: Callable[..., Path] = write_bag
    image: Callable[..., Entry] = image
    camera: Callable[..., list[Entry]] = camera
    definition: Callable[[str], str] = definition
    begin: int = BEGIN
    interval: int = INTERVAL
    pinhole: PinholeCamera = CAMERA


@pytest.fixture(scope="session")
def record() -> Record:
    return Record()


@pytest.fixture(scope="session")
def frames(make: Any) -> NDArray[np.uint8]:
    """Eight frames `[8, 28, 42, 3]`."""
    return make.noise(8, HEIGHT, WIDTH)
