"""Depth as coloured point clouds, one per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.encoding.points import ply
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.clouds import CLOUD_OUTPUTS, Clouds
from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame


class PlySink(PerFrameSink):
    """A coloured point cloud, binary: x right, y down, z forward, as the camera looks; in the unit of `Clouds`."""

    ending = ".ply"
    needs_camera = True
    has_clouds = True
    needs_range = True
    draws = CLOUD_OUTPUTS

    @classmethod
    def scales(cls, kind: DepthKind) -> bool:
        return kind.inverse

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self._clouds = Clouds(facts, lambda line: self.notes.append(f"{Path(self.name).name}: {line}"))

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> bytes:
        return ply(self._clouds.of(frame.image, depth, self.outputs))
