"""Points of a recording as sparse depth in the pictures of one of its cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.rays import places_of
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.recordings.cameras import camera_of, lens_of
from vmdepth_runtime.sources.recordings.frames import static_transform
from vmdepth_runtime.sources.recordings.images import ImageReader
from vmdepth_runtime.sources.recordings.recording import Recording, Topic
from vmdepth_runtime.sources.recordings.topics import first_of

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # sensor_msgs/PointField
# Points are looked at as far beyond the edges as the picture is large: polynomials of distortion fold back what is
# farther, and would put it into the middle.
_BEYOND = 1.0


class PointProjector:
    """Brings the points of `PointCloud2` messages into a camera.

    Args:
        recording: open; says what the camera sees, and by its static transforms where it is.
        name: of the points, for people.
        pictures: the topic of the camera's pictures.
        lens: of the camera; None: what its CameraInfo says.

    Raises:
        InputError: nothing is known of the camera, or the lens does not fit its pictures.
    """

    def __init__(self, recording: Recording, name: str, pictures: Topic, lens: Lens | None = None) -> None:
        first = first_of(recording, pictures)
        self._frame_id = "" if first is None else str(first.message.header.frame_id)
        if lens is not None:
            lens = _at_size(lens, None if first is None else first.message, pictures.name)
        elif (info := camera_of(recording, pictures.name, self._frame_id)) is not None:
            lens = lens_of(info, pictures.name)[0]
        if lens is None or lens.size is None:
            raise InputError(
                f"{name} has points, and nothing says what the camera of {pictures.name} sees (CameraInfo, --camera)"
            )
        self._recording, self._name, self._lens = recording, name, lens
        self._poses: dict[str, NDArray[np.float64]] = {}  # from the frames of points to that of the camera

    def __call__(self, message: Any) -> NDArray[np.float32] | None:
        """Metres along the camera's axis where a point is, of several the nearest: float32 `[H, W]`, else NaN; None of
        a damaged message. Raises InputError where nothing says where the points are."""
        with np.errstate(over="ignore", invalid="ignore"):  # of what no sensor measures, and is not in sight
            points = points_of(message)
            if points is None:
                return None
            pose = self._pose(str(message.header.frame_id))
            return project(points @ pose[:3, :3].T + pose[:3, 3], self._lens)

    def _pose(self, frame_id: str) -> NDArray[np.float64]:
        if frame_id not in self._poses:
            pose = static_transform(self._recording, frame_id, self._frame_id)
            if pose is None:
                raise InputError(
                    f"{self._name} is in the frame '{frame_id}', the camera in '{self._frame_id}', and no static "
                    "transform (/tf_static) leads from one to the other; record it, too"
                )
            self._poses[frame_id] = pose
        return self._poses[frame_id]


def _at_size(lens: Lens, picture: Any, name: str) -> Lens | None:
    """A lens with the size of the pictures it is of; None where the first of them, a message, cannot be read."""
    image = "damaged" if picture is None else ImageReader()(picture)
    if isinstance(image, str):
        return None
    height, width = image.shape[:2]
    return replace(lens, fov=None, pinhole=lens.camera(width, height, name), size=(width, height))


def points_of(message: Any) -> NDArray[np.float64] | None:
    """x, y, z of a `PointCloud2`: float64 `[N, 3]`, those that are finite; None where the message is damaged."""
    fields = {field.name: field for field in message.fields}
    if not {"x", "y", "z"} <= fields.keys() or any(fields[axis].datatype not in _TYPES for axis in "xyz"):
        return None
    count, step = message.width * message.height, message.point_step
    order = ">" if message.is_bigendian else "<"
    kinds = [order + _TYPES[fields[axis].datatype] for axis in "xyz"]
    offsets = [fields[axis].offset for axis in "xyz"]
    ends = [offset + np.dtype(kind).itemsize for offset, kind in zip(offsets, kinds, strict=True)]
    rows = message.row_step or message.width * step
    if max(ends) > step or rows < message.width * step or len(message.data) < rows * message.height:
        return None
    kind = np.dtype({"names": ["x", "y", "z"], "formats": kinds, "offsets": offsets, "itemsize": step})
    plain = message.data[: rows * message.height].reshape(message.height, rows)[:, : message.width * step]
    stored = np.ascontiguousarray(plain).reshape(-1).view(kind) if count else np.zeros(0, kind)
    points = np.stack([stored[axis].astype(np.float64) for axis in "xyz"], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def project(points: NDArray[np.float64], lens: Lens) -> NDArray[np.float32]:
    """Depth of points in a camera whose lens says its size.

    Args:
        points: float64 `[N, 3]` in its frame, x right, y down, z forward.
        lens: with a pinhole and a size.

    Returns:
        float32 `[H, W]`: along its axis, of several points in one pixel the nearest, NaN where there is none.
    """
    assert lens.pinhole is not None and lens.size is not None
    (width, height), camera = lens.size, lens.pinhole
    depth = np.full((height, width), np.inf, np.float32)
    ahead = points[points[:, 2] > 0]
    rays = ahead[:, :2] / ahead[:, 2:]
    flat = rays * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    fisheye = lens.distortion is not None and lens.distortion.model == "equidistant"
    if not fisheye:
        low, high = (-_BEYOND * width, -_BEYOND * height), ((1 + _BEYOND) * width, (1 + _BEYOND) * height)
        near = ((flat >= low) & (flat <= high)).all(axis=1)
        ahead, rays, flat = ahead[near], rays[near], flat[near]
    if lens.distortion is not None and len(ahead):
        flat = places_of(camera, lens.distortion, rays)
    pixels = np.rint(flat).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
    x, y = pixels[inside].T
    np.minimum.at(depth, (y, x), ahead[inside, 2].astype(np.float32))
    depth[np.isinf(depth)] = np.nan
    return depth
