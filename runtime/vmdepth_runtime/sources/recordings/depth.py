"""Depth that a robot recorded: what another sensor measured of the scene."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.encoding.pictures import PER_METRE
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.recordings.images import rows_of
from vmdepth_runtime.sources.recordings.message_types import POINTS
from vmdepth_runtime.sources.recordings.points import PointProjector
from vmdepth_runtime.sources.recordings.recording import Recording
from vmdepth_runtime.sources.recordings.rosbag import open_recording
from vmdepth_runtime.sources.recordings.topics import UNITLESS, depth_topic, picture_topic

_HEAD = struct.Struct("<iff")  # before the picture of compressed depth: its kind, and two numbers of its quantisation
_DENSE = {"16UC1": "u2", "32FC1": "f4", "64FC1": "f8"}
_Convert: TypeAlias = Callable[[Any], "NDArray[np.float32] | str | None"]


class RecordedDepth(Iterator[tuple[int, "NDArray[np.float32]"]]):
    """What `open.recorded_depth` gives. Closes the recording at its end.

    Args:
        recording: open.
        name: of the depth, for people.
        topic: likewise, in the recording.
        convert: makes metres of a message; see `_dense`.
    """

    def __init__(self, recording: Recording, name: str, topic: str, convert: _Convert) -> None:
        self._recording, self._name, self._convert = recording, name, convert
        self._damaged, self._first = 0, ""
        self._depths = self._read(topic)

    def __next__(self) -> tuple[int, NDArray[np.float32]]:
        return next(self._depths)

    def close(self) -> None:
        """Let go of the file."""
        self._depths.close()
        self._recording.close()

    def damage(self) -> str:
        """A line on the messages so far that could not be read; empty where all could."""
        if not self._damaged:
            return ""
        count = "1 message is" if self._damaged == 1 else f"{self._damaged} messages are"
        return f"{self._name}: {count} left out, the first: {self._first}"

    def _read(self, topic: str) -> Generator[tuple[int, NDArray[np.float32]], None, None]:
        try:
            for told in self._recording.messages(topic):
                depth = None if told.message is None else self._convert(told.message)
                if isinstance(depth, str):
                    raise InputError(f"{self._name} {depth}")
                if depth is None:
                    self._damaged, self._first = self._damaged + 1, self._first or told.damage or "damaged"
                else:
                    yield told.stamp, depth
        finally:
            self._recording.close()


def read_depth(path: Path, topic: str | None, pictures: str | None, lens: Lens | None) -> RecordedDepth:
    """What `open.recorded_depth` gives."""
    recording = open_recording(path)
    try:
        found = depth_topic(recording, str(path), topic)
        name = f"{path}: {found.name}"
        convert: _Convert = _dense
        if found.type == POINTS:
            if found.name.endswith(UNITLESS):
                raise InputError(f"{name} has points of depth that is no metres, as its name says; name another topic")
            convert = PointProjector(recording, name, picture_topic(recording, str(path), pictures), lens)
        return RecordedDepth(recording, name, found.name, convert)
    except BaseException:
        recording.close()
        raise


def _dense(message: Any) -> NDArray[np.float32] | str | None:
    """Metres of an `Image` or `CompressedImage`: float32 `[H, W]`, NaN where there is none; None of a damaged one; or
    what is wrong with all of them."""
    compressed = hasattr(message, "format")
    named = (message.format if compressed else message.encoding).strip()
    kind, _, remark = named.partition(";")
    if kind not in _DENSE:
        return f"has the encoding '{named}', and metres are 32FC1, or 16UC1 in millimetres"
    if compressed:
        if why := _unread(kind, remark):
            return f"is compressed as '{named}', {why}; compressedDepth as PNG is read"
        values = _decompressed(message.data.tobytes(), kind, headed="compressedDepth" in remark)
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


def _unread(kind: str, remark: str) -> str:
    """Why compressed depth is not read; empty of what is."""
    if "compressedDepth" in remark:
        return "which is not PNG" if re.search("rvl", remark, re.IGNORECASE) else ""
    if remark and not re.search("png", remark, re.IGNORECASE):
        return "which loses depth or is not known"
    return "" if kind == "16UC1" else "and a PNG alone holds no such numbers"


def _decompressed(data: bytes, kind: str, *, headed: bool) -> NDArray[Any] | None:
    """Of compressed_image_transport a PNG of 16UC1 as it is; headed: of compressed_depth_image_transport, which puts a
    head before it: 16UC1 as it is, of 32FC1 inverse depth in even steps."""
    start = _HEAD.size if headed else 0
    if len(data) <= start:
        return None
    stored = cv2.imdecode(np.frombuffer(data, np.uint8, offset=start), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
        return None
    if kind == "16UC1":
        return stored
    _, scale, offset = _HEAD.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(stored > 0, scale / (stored - np.float64(offset)), 0.0)
