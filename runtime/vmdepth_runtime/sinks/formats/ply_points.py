"""Depth as coloured point clouds, one per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding.points import back_project, near_for, ply
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.files import PerFrameSink
from vmdepth_runtime.sources.base import SourceFrame


class PlySink(PerFrameSink):
    """A coloured point cloud, binary: x right, y down, z forward, as the camera looks.

    In metres for metric depth, in the depth's own unit for scaled depth. Relative inverse depth d becomes z = near / d:
    z is 1 where the video is nearest. What the network takes for sky, is least sure of, or sees
    move has no point; the last as `SinkFacts.heed_moving` says.
    """

    ending = ".ply"
    needs_camera = True
    needs_range = True
    draws: tuple[str, ...] = ("confidence", "sky", DYNAMIC)

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        if not facts.heed_moving:
            self.draws = tuple(name for name in self.draws if name != DYNAMIC)
        assert facts.lens is not None
        self._camera = facts.lens.camera(facts.info.width, facts.info.height)
        self._distortion = facts.lens.distortion
        self._near = facts.near if facts.depth_meaning.inverse else None

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> bytes:
        # One unit for the whole video, else the cloud would breathe.
        self._near = self._near or near_for(self.facts.depth_meaning, depth)
        cloud, bent = self.facts.cloud, self._distortion
        return ply(back_project(depth, frame.image, self._camera, self._near, cloud, self.outputs, bent))
