"""A file of its own for each picture of a set, whatever its size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sinks.base import Sink, SinkFacts
from vmdepth_runtime.sinks.files import NAME, FileSink, numbered
from vmdepth_runtime.sources.base import SourceFrame


class PictureSink(Sink):
    """Opens the output of each picture anew: under its name, with its size, and with what belongs to that.

    Args:
        target: of that kind, with "{name}" or a number where it is not of a single picture.
        facts: of the run.
        kind: of the files.
    """

    def __init__(self, target: str, facts: SinkFacts, kind: type[FileSink]) -> None:
        self.draws = kind.draws
        super().__init__(target, facts)
        self.wants_colour = kind.shows_colour(facts.colour)
        self._target, self._kind = target, kind

    @classmethod
    def accepts(cls, target: str) -> bool:
        """None by itself: it stands for others."""
        return False

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        height, width = depth.shape
        info = replace(self.facts.info, width=width, height=height, frames=1)
        facts = replace(self.facts, info=info)
        target = str(numbered(Path(self._target.replace(NAME, frame.name)), frame.index))
        with self._kind(target, facts) as sink:
            sink.write(frame, depth, colour, self.outputs)
        self.notes += sink.notes
        self.name = sink.name if self.frames == 0 else self._target

    def close(self) -> None:
        return
