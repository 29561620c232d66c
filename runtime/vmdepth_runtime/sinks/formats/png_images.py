"""Depth as 16-bit images, one per frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import write_report
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.files import PerFrameSink, depth_sidecar
from vmdepth_runtime.sources.base import SourceFrame

_ROOM = 4.0  # how many times as near as the nearest seen so far a 16-bit image can show
_MILLIMETRES = 1000.0


class PngSink(PerFrameSink):
    """16-bit gray. A sidecar, named as the images are with "depth" for the number, says what a step is: a millimetre of
    metric depth; of relative depth a share of its range. 0 is no depth, as with depth cameras."""

    ending = ".png"
    remark = "16 bit"
    needs_range = True

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
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
        write_report(sidecar, depth_sidecar(self.path))
        return steps
