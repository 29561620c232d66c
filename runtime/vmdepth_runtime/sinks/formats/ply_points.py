"""Depth as coloured point clouds, one per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sinks.base import PinholeCamera, SinkFacts
from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame

_FARTHEST = 100.0  # units that a point of relative depth may be away


class PlySink(PerFrameSink):
    """A coloured point cloud, binary: x right, y down, z forward, as the camera looks.

    In metres for metric depth. Relative inverse depth d becomes z = 1 / d, in units of the nearest tenth; what is
    farther than a hundred of them, and what is not finite, is left out.
    """

    ending = ".ply"
    needs_camera = True
    needs_range = True

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
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
            there = np.isfinite(z) & (z > 0) & (z < _FARTHEST)
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
