"""One file per frame: 16-bit PNG, NumPy, OpenEXR, point clouds."""

from __future__ import annotations

import io
import json
import re
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import write_whole
from vmdepth_runtime.sinks.base import PinholeCamera, Sink, SinkFacts
from vmdepth_runtime.sources.base import SourceFrame

_ROOM = 4.0  # how many times as near as the nearest seen so far a 16-bit image can show
_MILLIMETRES = 1000.0
_PATTERN = re.compile(r"%0?\d*d")


def is_pattern(path: Path) -> bool:
    """Whether a name has a place for the frame's number, such as %06d."""
    return len(_PATTERN.findall(path.name)) == 1


class FrameSink(Sink):
    """A file per frame, named by the frame's place in the source; each appears whole."""

    wants_colour = False

    def __init__(self, path: Path, facts: SinkFacts) -> None:
        super().__init__(str(path))
        self.path = path
        self.facts = facts
        path.parent.mkdir(exist_ok=True)

    def close(self) -> None:
        return

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        name = _PATTERN.sub(lambda field: field[0] % frame.index, self.path.name)
        write_whole(self.path.with_name(name), self._encoded(frame, depth))

    @abstractmethod
    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32]) -> bytes | memoryview: ...


class NpySink(FrameSink):
    """float32 `[H, W]`, for `np.load`."""

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32]) -> memoryview:
        content = io.BytesIO()
        np.save(content, np.ascontiguousarray(depth, "<f4"), allow_pickle=False)
        return content.getbuffer()


class PngSink(FrameSink):
    """16-bit gray. A sidecar, named as the images are with "depth" for the number, says what a step is: a millimetre of
    metric depth; of relative depth a share of its range. 0 is no depth, as with depth cameras."""

    def __init__(self, path: Path, facts: SinkFacts) -> None:
        super().__init__(path, facts)
        self._steps: float | None = None  # per unit of depth
        self._clipped = 0

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32]) -> bytes:
        if self._steps is None and np.isfinite(depth).any():
            self._steps = self._choose(depth)
        steps = np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * np.float32(self._steps or 0.0)
        self._clipped += int(np.count_nonzero(steps > 65535))
        image = np.clip(np.rint(steps), 0, 65535).astype(np.uint16)
        good, content = cv2.imencode(".png", image)
        if not good:
            raise OSError("the image cannot be encoded")
        return content.tobytes()

    def close(self) -> None:
        if self._clipped:
            self.notes.append(f"{self.path}: {self._clipped} pixels were beyond what 16 bits hold, and are 65535")
            self._clipped = 0

    def _choose(self, depth: NDArray[np.float32]) -> float:
        metric = self.facts.depth_kind == "metric"
        near = self.facts.near or float(depth[np.isfinite(depth)].max()) or 1.0
        steps = _MILLIMETRES if metric else 65535 / (_ROOM * near)
        sidecar: dict[str, Any] = {
            "depth_kind": self.facts.depth_kind,
            "unit": "m" if metric else None,
            "depth_per_step": 1 / steps,
            "invalid": 0,
            "width": self.facts.info.width,
            "height": self.facts.info.height,
            "fps": self.facts.info.fps,
        }
        name = Path(_PATTERN.sub("depth", self.path.name)).with_suffix(".json")
        write_whole(self.path.with_name(name.name), (json.dumps(sidecar, indent=2) + "\n").encode())
        return steps


class ExrSink(FrameSink):
    """OpenEXR, one float32 channel."""

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32]) -> bytes:
        height, width = depth.shape
        codec: Any = av.CodecContext.create("exr", "w")
        codec.width, codec.height, codec.pix_fmt = width, height, "grayf32le"
        codec.time_base = self.facts.info.time_base
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(depth, "<f4"), format="grayf32le")
        return b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])


class PlySink(FrameSink):
    """A coloured point cloud, binary: x right, y down, z forward, as the camera looks.

    In metres for metric depth. Relative inverse depth d becomes z = 1 / d, in units of the nearest tenth; what is
    farther than a hundred of them, and what is not finite, is left out.
    """

    _FARTHEST: ClassVar[float] = 100.0

    def __init__(self, path: Path, facts: SinkFacts) -> None:
        super().__init__(path, facts)
        assert facts.camera is not None
        camera: PinholeCamera = facts.camera
        self._across = ((np.arange(facts.info.width) - camera.cx) / camera.fx).astype(np.float32)
        self._down = ((np.arange(facts.info.height) - camera.cy) / camera.fy).astype(np.float32)
        self._near = facts.near

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32]) -> bytes:
        if self.facts.depth_kind == "metric":
            z, there = depth, np.isfinite(depth) & (depth > 0)
        else:
            # One unit for the whole video, else the cloud would breathe.
            if self._near is None and np.isfinite(depth).any():
                self._near = float(np.percentile(depth[np.isfinite(depth)], 90)) or 1.0
            with np.errstate(divide="ignore", invalid="ignore"):
                z = np.float32(self._near or 1.0) / depth
            there = np.isfinite(z) & (z > 0) & (z < self._FARTHEST)
        rows, columns = np.nonzero(there)
        names = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
        points = np.empty(len(rows), names)
        points["z"] = z[rows, columns]
        points["x"], points["y"] = points["z"] * self._across[columns], points["z"] * self._down[rows]
        for channel, name in enumerate(("red", "green", "blue")):
            points[name] = frame.image[rows, columns, channel]
        kinds = {"<f4": "float", "u1": "uchar"}
        properties = "".join(f"property {kinds[kind]} {name}\n" for name, kind in names)
        header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}end_header\n"
        return header.encode() + points.tobytes()
