"""Files of calibrated cameras."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import cv2

from vmdepth_runtime.errors import InputError

_MATRICES = ("camera_matrix", "K", "k", "cameraMatrix")  # ROS files and OpenCV; ROS messages; OpenCV's variable
_PREFIXES = ("", "Camera.", "Camera1.")  # the latter two are of ORB-SLAM
_SIZES = (("image_width", "image_height"), ("width", "height"), ("Camera.width", "Camera.height"))
_INSTEAD = "give a calibration with camera_matrix, K or fx, fy, cx, cy, or FX,FY,CX,CY in pixels"


def read_calibration(path: Path) -> tuple[list[float], tuple[int, int] | None]:
    """Intrinsics of a file.

    Args:
        path: camera_info of ROS (a file, or what `ros2 topic echo` prints), a calibration of OpenCV or ORB-SLAM, or
            plain keys fx, fy, cx, cy; YAML or JSON.

    Returns:
        fx, fy, cx, cy in pixels; and width and height of the frames that they are of, None where it does not say.

    Raises:
        InputError: it cannot be read, or has no intrinsics; names the file.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise InputError(f"--intrinsics {path}: no such file; {_INSTEAD}") from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise InputError(f"--intrinsics {path}: cannot be read ({why}); {_INSTEAD}") from None
    try:
        storage = cv2.FileStorage(_for_opencv(text), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        numbers, size = _numbers(storage), _size(storage)
    except (cv2.error, SystemError):
        raise InputError(f"--intrinsics {path}: cannot be read as YAML or JSON; {_INSTEAD}") from None
    if numbers is None:
        raise InputError(f"--intrinsics {path}: has no intrinsics; {_INSTEAD}")
    return numbers, size


def _for_opencv(text: str) -> str:
    """As OpenCV wants YAML: with a head, and lists indented, which ROS prints flush with their keys.

    And JSON: without nulls, at which that of Python 3.10's wheels (4.11) ends.
    """
    if text.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):  # what is no JSON OpenCV refuses
            text = json.dumps(json.loads(text, object_pairs_hook=_without_nulls), ensure_ascii=False)
        return text
    if text.lstrip().startswith("%YAML"):
        return text
    body = re.sub(r"(?m)^---\s*$", "", text)
    return "%YAML:1.0\n---\n" + re.sub(r"(?m)^- ", "  - ", body)


def _without_nulls(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value for key, value in pairs if value is not None}


def _numbers(storage: cv2.FileStorage) -> list[float] | None:
    for name in _MATRICES:
        node = storage.getNode(name)
        if node.isMap():
            node = node.getNode("data")
        if node.isSeq() and node.size() == 9:
            matrix = [node.at(place).real() for place in range(9)]
            return [matrix[0], matrix[4], matrix[2], matrix[5]]
    for prefix in _PREFIXES:
        nodes = [storage.getNode(prefix + name) for name in ("fx", "fy", "cx", "cy")]
        if all(node.isReal() or node.isInt() for node in nodes):
            return [node.real() for node in nodes]
    return None


def _size(storage: cv2.FileStorage) -> tuple[int, int] | None:
    for names in _SIZES:
        width, height = (int(node.real()) if node.isInt() else 0 for node in map(storage.getNode, names))
        if width > 0 and height > 0:
            return width, height
    return None
