"""What a recording says of its cameras."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.recordings.message_types import CAMERA_INFO

if TYPE_CHECKING:
    from vmdepth_runtime.sources.recordings.recording import Recording


def camera_of(recording: Recording, topic: str, frame_id: str) -> Any:
    """The first `CameraInfo` that belongs to a topic of pictures or depth; None where there is none.

    By its name, as image_transport has it: beside the pictures, or below them. Else the only one of that frame id.
    """
    infos = [name for name, told in recording.topics.items() if told.type == CAMERA_INFO and told.count]
    for name in camera_info_names(topic):
        if name in infos and (message := _first(recording, name)) is not None:
            return message
    found = [message for name in infos if (message := _first(recording, name)) is not None]
    same = [message for message in found if message.header.frame_id == frame_id]
    return same[0] if same and len({tuple(message.k) for message in same}) == 1 else None


def lens_of(message: Any, topic: str) -> tuple[Lens | None, str]:
    """What a `CameraInfo` says of the camera of a topic, and a remark on what of it is not heeded; it may be empty.

    Of a topic whose name says that its pictures are rectified it is the projection matrix, and no distortion.
    """
    rectified = re.search(r"(^|_)rect", _without_transport(topic).rpartition("/")[2]) is not None
    matrix = [*message.p[:3], *message.p[4:7]] if rectified else message.k
    fx, cx, fy, cy = (float(matrix[place]) for place in (0, 2, 4, 5))
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, (fx, fy, cx, cy)))):
        return None, ""  # a camera that nobody calibrated
    size = (int(message.width), int(message.height))
    roi = message.roi
    if roi.width and roi.height:  # the frames are a part of what was calibrated
        cx, cy, size = cx - roi.x_offset, cy - roi.y_offset, (int(roi.width), int(roi.height))
    distortion, remark = (None, "") if rectified else _distortion(message.distortion_model, message.d)
    pinhole = PinholeCamera(fx, fy, cx, cy)
    return Lens(
        f"CameraInfo of {topic}", pinhole=pinhole, size=size if all(size) else None, distortion=distortion
    ), remark


def _distortion(model: str, numbers: Any) -> tuple[Distortion | None, str]:
    try:
        return Distortion.of(model, numbers, "its CameraInfo"), ""
    except InputError as error:
        return None, f"{error}; it is not heeded"


def camera_info_names(topic: str) -> Iterator[str]:
    """Where the `CameraInfo` of a topic of pictures or depth may be, whatever image_transport adds to its name: beside
    it, which comes first, or below it."""
    base = _without_transport(topic)
    yield f"{base.rpartition('/')[0]}/camera_info"
    yield f"{base}/camera_info"


def _without_transport(topic: str) -> str:
    return topic.removesuffix("/compressed").removesuffix("/compressedDepth")


def _first(recording: Recording, name: str) -> Any:
    return next((told.message for told in recording.messages(name) if told.message is not None), None)
