"""Recordings of robots as sources, and the depth in them. What reads them is imported when one is opened."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.settings import LiveSettings, ReadSettings

if TYPE_CHECKING:
    from vmdepth_runtime.sources.recordings.depth import RecordedDepth


def open_recorded(path: Path, live: LiveSettings, read: ReadSettings) -> Source:
    """Open the pictures of a recording.

    Args:
        path: an MCAP file, a rosbag2 folder or a database of one.
        live: after what gap between two pictures the stream starts anew.
        read: which topic, and which of its frames are taken.

    Raises:
        InputError: it cannot be read, holds no such topic, or the libraries are not installed.
    """
    _need_libraries(path)
    from vmdepth_runtime.sources.recordings.source import RecordingSource

    return RecordingSource(path, read, max_gap=live.max_gap)


def recorded_depth(
    path: str | Path, topic: str | None = None, *, pictures: str | None = None, lens: Lens | None = None
) -> RecordedDepth:
    """Depth that another sensor measured, as a robot recorded it.

    Args:
        path: as `open_source` takes a recording: an MCAP file, a rosbag2 folder or a database of one.
        topic: an `Image` or compressed depth image of metres (32FC1) or millimetres (16UC1), or a `PointCloud2`, which
            is brought into the camera of the pictures by its lens and the static transforms; None: the only one.
        pictures: the topic of the pictures that points are brought into; None: the only one.
        lens: of the camera of the pictures; None: what its CameraInfo says.

    Returns:
        Of each message that can be read, in the order in which they were recorded, the stamp of its header
        (nanoseconds since 1970) and metres along the axis of the camera, float32 `[H, W]`, NaN where there is none. Of
        points the size is that of the lens or the pictures, and few of its pixels have depth. Close it, or take all of
        it; its `damage()` tells of messages that cannot be read.

    Raises:
        InputError: it cannot be read or holds no such topic, what is in it is no depth in metres, or nothing says where
            the points are.
    """
    _need_libraries(path)
    from vmdepth_runtime.sources.recordings.depth import read_depth

    return read_depth(Path(path), topic, pictures, lens)


def _need_libraries(path: str | Path) -> None:
    if any(find_spec(name) is None for name in ("mcap", "rosbags")):
        raise InputError(f"{path}: is a recording of a robot; pip install 'vmdepth[robots]' brings what reads it")
