"""Files of calibrated cameras."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.errors import InputError

_MATRICES = ("camera_matrix", "K", "k", "cameraMatrix")  # ROS files and OpenCV; ROS messages; OpenCV's variable
# ROS files and OpenCV; ROS messages; OpenCV's variable; what people call that; Kalibr.
_COEFFICIENTS = ("distortion_coefficients", "D", "d", "distCoeffs", "dist_coeffs", "distortion_coeffs")
_PREFIXES = ("", "Camera.", "Camera1.")  # the latter two are of ORB-SLAM
_SIZES = (("image_width", "image_height"), ("width", "height"), ("Camera.width", "Camera.height"))
_FISHEYE = ("k1", "k2", "k3", "k4")
_PLUMB_BOB = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_INSTEAD = "give a calibration with camera_matrix, K or fx, fy, cx, cy, or FX,FY,CX,CY in pixels"


class Calibration(NamedTuple):
    """What a file says of a camera.

    Attributes:
        intrinsics: fx, fy, cx, cy in pixels.
        size: width and height of the frames that they are of; None where it does not say.
        distortion: None where it does not say, or nothing is bent.
    """

    intrinsics: list[float]
    size: tuple[int, int] | None
    distortion: Distortion | None


def read_calibration(path: Path) -> Calibration:
    """The camera of a file. What it says of a rectified picture (R, P) is left aside: frames are as the camera gives
    them.

    Args:
        path: camera_info of ROS (a file, or what `ros2 topic echo` prints), a calibration of OpenCV, Kalibr or
            ORB-SLAM, or plain keys fx, fy, cx, cy; YAML or JSON.

    Raises:
        InputError: it cannot be read, has no intrinsics or a distortion of another kind; names the file.
    """
    try:
        text = path.read_text("utf-8-sig")  # editors of Windows begin it with a mark
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_INSTEAD}") from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise InputError(f"{path}: cannot be read ({why}); {_INSTEAD}") from None
    try:
        storage = cv2.FileStorage(_for_opencv(text), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        camera = _camera(storage.root(), path)
        numbers, size = _numbers(camera), _size(camera)
        name, coefficients = _distortion(camera, path)
    except (cv2.error, SystemError):
        raise InputError(f"{path}: cannot be read as YAML or JSON; {_INSTEAD}") from None
    if numbers is None:
        raise InputError(f"{path}: has no intrinsics; {_INSTEAD}")
    return Calibration(numbers, size, Distortion.of(name, coefficients, str(path)))


def _for_opencv(text: str) -> str:
    """As OpenCV wants YAML: with a head, and lists indented, which ROS and Kalibr print flush with their keys.

    And JSON: without nulls, at which that of Python 3.10's wheels (4.11) ends.
    """
    if text.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):  # what is no JSON OpenCV refuses
            text = json.dumps(json.loads(text, object_pairs_hook=_without_nulls), ensure_ascii=False)
        return text
    if text.lstrip().startswith("%YAML"):
        return text
    body = re.sub(r"(?m)^---\s*$", "", text)
    return "%YAML:1.0\n---\n" + re.sub(r"(?m)^( *)- ", r"\1  - ", body)


def _without_nulls(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value for key, value in pairs if value is not None}


def _camera(root: cv2.FileNode, path: Path) -> cv2.FileNode:
    """What holds the camera: all of the file, or in one of Kalibr its only camera."""
    names = [name for name in (root.keys() if root.isMap() else ()) if re.fullmatch(r"cam\d+", name)]
    if len(names) > 1:
        raise InputError(f"{path}: is of {len(names)} cameras, {', '.join(names)}; leave in it the one that is used")
    return root.getNode(names[0]) if names else root


def _numbers(camera: cv2.FileNode) -> list[float] | None:
    for name in _MATRICES:
        matrix = _list(camera, name)
        if matrix is not None and len(matrix) == 9:
            return [matrix[0], matrix[4], matrix[2], matrix[5]]
    in_a_row = _list(camera, "intrinsics")  # of Kalibr's pinhole cameras
    if in_a_row is not None and len(in_a_row) == 4:
        return in_a_row
    for prefix in _PREFIXES:
        values = [_value(camera, prefix + name) for name in ("fx", "fy", "cx", "cy")]
        if None not in values:
            return [value for value in values if value is not None]
    return None


def _size(camera: cv2.FileNode) -> tuple[int, int] | None:
    pairs: list[Sequence[float | None]] = [[_value(camera, name) for name in names] for names in _SIZES]
    for pair in (*pairs, _list(camera, "resolution") or ()):  # the last is Kalibr's
        width, height = pair if len(pair) == 2 else (None, None)
        if width and height and min(width, height) >= 1 and max(width, height) < math.inf:
            return int(width), int(height)
    return None


def _distortion(camera: cv2.FileNode, path: Path) -> tuple[str, list[float]]:
    """The name of the model, empty where it is not said, and its coefficients."""
    name = _text(camera, "distortion_model")
    if _value(camera, "fisheye_model") or "kannala" in _text(camera, "Camera.type").lower():  # OpenCV's; ORB-SLAM's
        name = name or "fisheye"
    elif not camera.getNode("fisheye_model").empty():
        name = name or "plumb_bob"
    for key in _COEFFICIENTS:
        numbers = _list(camera, key)
        if numbers is not None:
            if not name and len(numbers) == 4 and numbers[3] != 0:
                raise InputError(
                    f"{path}: its {key} has four numbers, of a fisheye or not, and it does not say which; add "
                    "'distortion_model: equidistant' for a fisheye (cv2.fisheye), or 'plumb_bob' (k1, k2, p1, p2)"
                )
            return name, numbers
        if not camera.getNode(key).empty():
            raise InputError(
                f"{path}: its {key} is no list of numbers; give k1, k2, p1, p2, k3, or of a fisheye k1 to k4"
            )
    for prefix in _PREFIXES:
        values = {key: _value(camera, prefix + key) for key in _PLUMB_BOB}
        if values["k1"] is None:
            continue
        if not name and values["k4"] is not None and values["p1"] is None:
            raise InputError(
                f"{path}: has k1 to k4 and no p1, p2, and does not say what they mean; add 'distortion_model: "
                "equidistant' for a fisheye, or 'rational_polynomial'"
            )
        order = _FISHEYE if Distortion.named(name) == "equidistant" else _PLUMB_BOB
        return name, [values[key] or 0.0 for key in order]
    return name, []


def _list(camera: cv2.FileNode, name: str) -> list[float] | None:
    """Numbers in a row, or those of a matrix; None where there are none."""
    node = camera.getNode(name)
    if node.isMap():
        node = node.getNode("data")
    if not node.isSeq():
        return None
    parts = [node.at(place) for place in range(node.size())]
    return [part.real() for part in parts] if all(part.isReal() or part.isInt() for part in parts) else None


def _value(camera: cv2.FileNode, name: str) -> float | None:
    node = camera.getNode(name)
    return float(node.real()) if node.isReal() or node.isInt() else None


def _text(camera: cv2.FileNode, name: str) -> str:
    node = camera.getNode(name)
    return str(node.string()) if node.isString() else ""
