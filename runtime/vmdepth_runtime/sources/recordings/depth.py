"""Depth that a robot recorded: what another sensor measured of the scene."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding.pictures import PER_METRE
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.recordings.images import rows_of
from vmdepth_runtime.sources.recordings.message_types import POINTS
from vmdepth_runtime.sources.recordings.points import PointProjector
from vmdepth_runtime.sources.recordings.recording import Recording
from vmdepth_runtime.sources.recordings.rosbag import open_recording
from vmdepth_runtime.sources.recordings.topics import depth_topic, picture_topic

_HEAD = struct.Struct("<iff")  # before the picture of compressed depth: its kind, and two numbers of its quantisation
_DENSE = {"16UC1": "u2", "32FC1": "f4", "64FC1": "f8"}


_Convert: TypeAlias = Callable[[Any], "NDArray[np.float32] | str | None"]


def read_depth(
    path: Path, topic: str | None, pictures: str | None
) -> Generator[tuple[int, NDArray[np.float32]], None, None]:
    """What `open.recorded_depth` gives."""
    recording = open_recording(path)
    try:
        found = depth_topic(recording, str(path), topic)
        convert = _projector(recording, path, found.name, pictures) if found.type == POINTS else _dense
    except BaseException:
        recording.close()
        raise
    return _depths(recording, f"{path}: {found.name}", found.name, convert)


def _depths(
    recording: Recording, name: str, topic: str, convert: _Convert
) -> Generator[tuple[int, NDArray[np.float32]], None, None]:
    try:
        for told in recording.messages(topic):
            depth = None if told.message is None else convert(told.message)
            if isinstance(depth, str):
                raise InputError(f"{name} {depth}")
            if depth is not None:
                yield told.stamp, depth
    finally:
        recording.close()


def _projector(recording: Recording, path: Path, topic: str, pictures: str | None) -> PointProjector:
    return PointProjector(recording, f"{path}: {topic}", picture_topic(recording, str(path), pictures))


def _dense(message: Any) -> NDArray[np.float32] | str | None:
    """Metres of an `Image` or `CompressedImage`: float32 `[H, W]`, NaN where there is none; None of a damaged one; or
    what is wrong with all of them."""
    compressed = hasattr(message, "format")
    named = (message.format if compressed else message.encoding).strip()
    kind, _, remark = named.partition(";")
    if kind not in _DENSE:
        return f"has the encoding '{named}', and metres are 32FC1, or 16UC1 in millimetres"
    if compressed:
        values = _decompressed(message.data.tobytes(), kind) if "compressedDepth" in remark else None
    elif remark:
        return f"is no depth in metres (its encoding is '{named}')"
    else:
        stored = rows_of(message, np.dtype(_DENSE[kind]), 1, message.height)
        values = None if isinstance(stored, str) else stored
    if values is None:
        return None
    metres = values.astype(np.float32)
    if values.dtype == np.uint16:
        metres /= np.float32(PER_METRE)
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(np.nan))


def _decompressed(data: bytes, kind: str) -> NDArray[Any] | None:
    """As compressed_depth_image_transport has it: 16UC1 as it is, of 32FC1 inverse depth in even steps."""
    if len(data) <= _HEAD.size:
        return None
    _, scale, offset = _HEAD.unpack_from(data)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8, offset=_HEAD.size), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
        return None
    if kind == "16UC1":
        return stored
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(stored > 0, scale / (stored - np.float64(offset)), 0.0)
