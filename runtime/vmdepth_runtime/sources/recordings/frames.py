"""Where the sensors of a robot are to each other, as far as that never changes."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sources.recordings.message_types import TRANSFORMS
from vmdepth_runtime.sources.recordings.recording import Recording

_STATIC = "tf_static"


def static_transform(recording: Recording, source: str, target: str) -> NDArray[np.float64] | None:
    """What brings points of one frame into another: float64 `[4, 4]`, by the static transforms of a recording; None
    where they do not lead there. A slash that a name begins with, as in ROS 1, counts for nothing."""
    source, target = source.lstrip("/"), target.lstrip("/")
    if source == target:
        return np.eye(4)
    steps = _steps(recording)
    poses, open_ends = {source: np.eye(4)}, deque([source])
    while open_ends:
        here = open_ends.popleft()
        for there, step in steps.get(here, []):
            if there not in poses:
                poses[there] = step @ poses[here]
                open_ends.append(there)
    return poses.get(target)


def _steps(recording: Recording) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
    """From each frame the next ones, and what brings points there, in both directions."""
    steps: dict[str, list[tuple[str, NDArray[np.float64]]]] = {}
    names = [name for name, topic in recording.topics.items() if topic.type == TRANSFORMS and name.endswith(_STATIC)]
    for message in (told.message for name in names for told in recording.messages(name)):
        for stamped in [] if message is None else message.transforms:
            parent, child = (frame.lstrip("/") for frame in (stamped.header.frame_id, stamped.child_frame_id))
            pose = _matrix(stamped.transform)
            steps.setdefault(child, []).append((parent, pose))
            steps.setdefault(parent, []).append((child, np.asarray(np.linalg.inv(pose), np.float64)))
    return steps


def _matrix(transform: Any) -> NDArray[np.float64]:
    """Of a `geometry_msgs/Transform`, which brings points of the child into the parent."""
    turn, shift = transform.rotation, transform.translation
    x, y, z, w = np.array([turn.x, turn.y, turn.z, turn.w]) / max(
        np.hypot.reduce([turn.x, turn.y, turn.z, turn.w]), 1e-12
    )
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = shift.x, shift.y, shift.z
    return matrix
