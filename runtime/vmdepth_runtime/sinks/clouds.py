"""The points of frame after frame of one source, for outputs that have any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding.points import PointCloud, back_project, near_of
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sessions.base import StepOutputs
from vmdepth_runtime.sinks.base import SinkFacts

CLOUD_OUTPUTS: tuple[str, ...] = ("confidence", "sky", DYNAMIC)
"""The `Sink.draws` of an output that has points."""


class Clouds:
    """Points in metres for metric depth, in the depth's own unit for scaled depth. Relative inverse depth d becomes
    z = near / d: z is 1 where the video is nearest. What the network takes for sky, is least sure of, or sees move
    has no point; the last as `SinkFacts.heed_moving` says.

    Args:
        facts: of the run, which has a lens.
        tell: called once, with a line, where a frame has depth and its cloud no point.

    Attributes:
        near: the inverse depth that becomes z = 1; None before it is known.

    Raises:
        InputError: the lens does not fit the source's frames.
    """

    def __init__(self, facts: SinkFacts, tell: Callable[[str], None] | None = None) -> None:
        assert facts.lens is not None
        self._facts = facts
        self._tell = tell
        self._camera = facts.lens.camera(facts.info.width, facts.info.height)
        self._distortion = facts.lens.distortion
        self.near = facts.near

    def of(self, image: NDArray[np.uint8], depth: NDArray[np.float32], outputs: StepOutputs) -> PointCloud:
        """The points of a frame.

        Args:
            image: uint8 `[H, W, 3]` RGB.
            depth: float32 `[H, W]`.
            outputs: what the network gave of `CLOUD_OUTPUTS`.
        """
        heeded = {name: given for name, given in outputs.items() if name != DYNAMIC or self._facts.heed_moving}
        near = self._near_of(depth) if self._facts.depth_meaning.inverse else None
        cloud = back_project(depth, image, self._camera, near, self._facts.cloud, heeded, self._distortion)
        if self._tell is not None and not len(cloud.points) and near_of(depth) is not None:
            self._tell(
                "the clouds of some frames have no point, though there is depth; --max-range, --max-jump, "
                "--confidence-percentile and what moves leave points out"
            )
            self._tell = None
        return cloud

    def _near_of(self, depth: NDArray[np.float32]) -> float:
        """The inverse depth that becomes z = 1: one for the whole video, else the cloud would breathe, and so that
        of the first frame with depth."""
        self.near = self.near or near_of(depth)
        return self.near or 1.0
