"""Depth as 16-bit or coloured images, one per frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import write_report
from vmdepth_runtime.encoding.pictures import ROOM, clipped, picture, sixteen_bits, step_facts, steps_per_unit
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.files import PerFrameSink, depth_sidecar
from vmdepth_runtime.sources.base import SourceFrame


class PngSink(PerFrameSink):
    """16-bit gray. A sidecar, named as the images are with "depth" for the number, says what a step is: a millimetre of
    metric depth; of any other a share of its range. 0 is no depth, as with depth cameras. Coloured depth alone, 8 bit
    and without a sidecar, where the run wants colour."""

    ending = ".png"
    remark = "16 bit"
    needs_range = True
    may_colour = True

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self.wants_colour, self.wants_depth = facts.colour, not facts.colour
        self._steps: float | None = None  # per unit of depth
        self._clipped = 0

    def _encoded(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> bytes:
        if self.wants_colour:
            return picture(colour, self.ending)
        if self._steps is None and np.isfinite(depth).any():
            self._steps = self._choose(depth)
        image, beyond = sixteen_bits(depth, self._steps or 0.0, self.facts.depth_meaning)
        self._clipped += beyond
        return picture(image, self.ending)

    def close(self) -> None:
        if self._clipped:
            self.notes.append(clipped(str(self.path), self._clipped, self.facts.depth_meaning))
            self._clipped = 0

    def _choose(self, depth: NDArray[np.float32]) -> float:
        kind = self.facts.depth_meaning
        largest = float(depth[np.isfinite(depth)].max())
        # What comes alone can have all of the steps.
        room = largest if self.facts.info.frames == 1 else ROOM * (self.facts.near or largest)
        steps = steps_per_unit(kind, room)
        sidecar: dict[str, Any] = {
            **step_facts(kind, steps),
            "width": self.facts.info.width,
            "height": self.facts.info.height,
            "fps": self.facts.info.fps,
        }
        write_report(sidecar, depth_sidecar(self.path))
        return steps
