"""ROS 2's own message objects, of the fields that `vmdepth_runtime.encoding.ros_messages` gives."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from vmdepth_runtime.encoding.ros_messages import Message

_NO_PARTS: Mapping[str, type] = {}


def filled(kind: type, fields: Message, parts: Mapping[str, type] = _NO_PARTS) -> Any:
    """A message of a kind.

    Args:
        kind: a class that ROS generates, as `sensor_msgs.msg.Image`.
        fields: its values; a message within it is a dict.
        parts: of fields that are lists of messages, what those are.
    """
    message = kind()
    for name, value in fields.items():
        if isinstance(value, dict):
            value = filled(type(getattr(message, name)), value)
        elif isinstance(value, bytes):
            value = array("B", value)  # of anything else rclpy looks at every single byte
        elif name in parts:
            value = [filled(parts[name], part) for part in value]
        setattr(message, name, value)
    return message
