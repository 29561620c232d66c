"""Cameras that are given: read from `cameras.json`, COLMAP's text form or a TUM trajectory, and matched with views."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmdepth.views.camera_files import CameraOf
from vmdepth.views.geometry import Floats, inverse, matrix_of, nearest_rotation, rotation_of
from vmdepth_runtime.camera.lens import ASPECT_TOLERANCE, Lens
from vmdepth_runtime.errors import InputError

_NO_ROTATION = 1e-2  # what is farther from a rotation is something else
_COLMAP = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4}  # models without distortion, and how many numbers they have


@dataclass(frozen=True)
class _Line:
    """A line of a text file, for what is said when it is wrong."""

    file: Path
    number: int
    words: list[str]

    def numbers(self, part: slice) -> list[float]:
        values = [float(word) for word in self.words[part]]
        if not np.isfinite(values).all():
            raise ValueError("not finite")
        return values


def read_cameras(
    path: Path, names: Sequence[str], sizes: Sequence[tuple[int, int]], lens: Lens | None
) -> tuple[Floats, Floats]:
    """Given cameras of views.

    By names where the file has those of the views, else in its order (COLMAP's: in that of its names).

    Args:
        path: a `cameras.json`, a folder with COLMAP's cameras.txt and images.txt, or a trajectory: lines of time, place
            x y z and quaternion x y z w, camera to world.
        names: of the views.
        sizes: width and height of their pictures.
        lens: the intrinsics of all pictures, which a trajectory takes.

    Returns:
        Extrinsics [N, 3, 4], world to camera, and intrinsics [N, 3, 3] in pixels of the pictures.

    Raises:
        InputError: a file that cannot be read or is something else, another number of cameras than views, or cameras
            that do not fit the pictures.
    """
    trajectory = not path.is_dir() and path.suffix.lower() != ".json"
    if trajectory and lens is None:
        raise InputError(
            f"{path}: a trajectory has no focal lengths; give --intrinsics FX,FY,CX,CY of the pictures, or a "
            "calibration file"
        )
    if not trajectory and lens is not None:
        raise InputError(f"{path}: has intrinsics of its own; leave --intrinsics out")
    read: Callable[[Path], list[CameraOf]] = _colmap if path.is_dir() else _json
    try:
        cameras = read(path) if lens is None else _tum(path, names, sizes, lens)
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: cannot be read ({error.strerror}); give the cameras' file"
        ) from None
    if len(cameras) != len(names):
        raise InputError(f"{path}: has {len(cameras)} cameras, and there are {len(names)} views; each needs one")
    ordered = _by_name(path, cameras, names)
    fitting = [_fitted(path, *parts) for parts in zip(ordered, names, sizes, strict=True)]
    return np.stack([camera.extrinsics for camera in ordered]), np.stack(fitting)


def _by_name(path: Path, cameras: list[CameraOf], names: Sequence[str]) -> list[CameraOf]:
    named = {camera.name: camera for camera in cameras}
    missing = [name for name in names if name not in named]
    if len(missing) == len(names):
        return cameras
    if missing:
        raise InputError(f"{path}: has no camera for {missing[0]}, though it has one for other views")
    return [named[name] for name in names]


def _fitted(path: Path, camera: CameraOf, name: str, size: tuple[int, int]) -> Floats:
    """A camera's intrinsics for a picture that may be of another resolution, but shows the same."""
    across, down = size[0] / camera.width, size[1] / camera.height
    if abs(across / down - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"{path}: its camera for {name} is of {camera.width}x{camera.height} pixels, the picture of "
            f"{size[0]}x{size[1]}; give pictures as the camera saw them"
        )
    matrix = camera.intrinsics * np.array([[across], [down], [1.0]])
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and 0 < matrix[0, 2] < size[0] and 0 < matrix[1, 2] < size[1]):
        raise InputError(
            f"{path}: the intrinsics for {name} do not fit a picture of {size[0]}x{size[1]}: focal lengths are above "
            "0, and the principal point lies in the picture"
        )
    return matrix


def _json(path: Path) -> list[CameraOf]:
    try:
        views: list[dict[str, Any]] = json.loads(path.read_text())["views"]
        cameras = []
        for view in views:
            pose, matrix = (np.array(view[key], np.float64) for key in ("extrinsics", "intrinsics"))
            if pose.shape not in ((3, 4), (4, 4)) or matrix.shape != (3, 3):
                raise ValueError(f"{view['name']} needs extrinsics 3x4 and intrinsics 3x3")
            size = int(view["width"]), int(view["height"])
            cameras.append(CameraOf(str(view["name"]), *size, _rigid(pose[:3], str(view["name"])), matrix))
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError(f"{path}: no cameras.json of vmdepth-views ({error!s:.100})") from None
    return cameras


def _colmap(folder: Path) -> list[CameraOf]:
    if not (folder / "images.txt").exists() and (folder / "images.bin").exists():
        raise InputError(f"{folder}: holds a binary model; make text of it: colmap model_converter --output_type TXT")
    line = _Line(folder, 0, [])
    try:
        lenses: dict[str, tuple[int, int, Floats]] = {}
        for line in _lines(folder / "cameras.txt"):
            if not line.words:
                continue
            model = line.words[1]
            if model not in _COLMAP:
                raise InputError(f"{line.file}: a camera is {model}; undistort the pictures: colmap image_undistorter")
            numbers = line.numbers(slice(4, 4 + _COLMAP[model]))
            fx, fy, cx, cy = numbers if model == "PINHOLE" else (numbers[0], *numbers)
            matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
            lenses[line.words[0]] = int(line.words[2]), int(line.words[3]), matrix
        cameras = []
        for line in list(_lines(folder / "images.txt"))[::2]:  # every second one lists points
            if not line.words:
                continue
            w, x, y, z, *shift = line.numbers(slice(1, 8))
            pose = np.concatenate([rotation_of(np.array([w, x, y, z])), np.array(shift)[:, None]], axis=1)
            width, height, matrix = lenses[line.words[8]]
            name = " ".join(line.words[9:])
            cameras.append(CameraOf(name, width, height, _rigid(pose, name), matrix))
    except (ValueError, IndexError, KeyError):
        raise InputError(f"{line.file}: line {line.number} is none of COLMAP's text form") from None
    return sorted(cameras, key=lambda camera: camera.name)


def _tum(path: Path, names: Sequence[str], sizes: Sequence[tuple[int, int]], lens: Lens) -> list[CameraOf]:
    poses = []
    for line in _lines(path):
        if not line.words:
            continue
        try:
            _, *place, x, y, z, w = line.numbers(slice(0, 8))
            if len(line.words) != 8:
                raise ValueError("8 numbers")
            turn = rotation_of(np.array([w, x, y, z]))
            poses.append(_rigid(inverse(np.concatenate([turn, np.array(place)[:, None]], axis=1)), path.name))
        except ValueError:
            raise InputError(
                f"{path}: line {line.number} is none of a trajectory: time, x y z, quaternion x y z w; cameras are "
                "read from a cameras.json and COLMAP's folder, too"
            ) from None
    if len(poses) != len(names):
        raise InputError(f"{path}: has {len(poses)} poses, and there are {len(names)} views; each needs one")
    return [
        CameraOf(name, *size, pose, matrix_of(lens.camera(*size, name)))
        for name, size, pose in zip(names, sizes, poses, strict=True)
    ]


def _lines(path: Path) -> list[_Line]:
    """The lines of a text file but for those that begin with #."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        raise InputError(f"{path}: no text; cameras are a cameras.json, COLMAP's text form or a trajectory") from None
    lines = [_Line(path, number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    return [line for line in lines if not (line.words and line.words[0].startswith("#"))]


def _rigid(pose: Floats, name: str) -> Floats:
    """The pose with its rotation made exact. Raises ValueError for what is none."""
    if not np.isfinite(pose).all():
        raise ValueError(f"the pose of {name} is not finite")
    rotation = nearest_rotation(pose[:, :3])
    if np.abs(rotation - pose[:, :3]).max() > _NO_ROTATION:
        raise ValueError(f"the extrinsics of {name} are no rotation and shift")
    return np.concatenate([rotation, pose[:, 3:]], axis=1)
