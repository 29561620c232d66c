"""A file of its own for each picture of a set, whatever its size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
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
        self.wants_colour = kind.shows_colour(facts.colour, facts.depth_meaning)
        self._target, self._kind = target, kind
        self._told: dict[str, int] = {}  # notes without the file's name → their places among all

    @classmethod
    def accepts(cls, target: str) -> bool:
        """None by itself: it stands for others."""
        return False

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        height, width = depth.shape
        info = replace(self.facts.info, width=width, height=height, frames=1)
        facts = replace(self.facts, info=info)
        path = numbered(Path(self._target.replace(NAME, frame.name)), frame.index)
        try:
            sink = self._kind(str(path), facts)
        except InputError as error:  # of intrinsics that do not fit this one
            raise InputError(f"{frame.name}: {error}") from None
        with sink:
            sink.write(frame, depth, colour, self.outputs)
        for note in sink.notes:
            self._note(note.removeprefix(f"{path}: ").removeprefix(f"{path.name}: "), note)
        self.name = sink.name if self.frames == 0 else self._target

    def _note(self, text: str, note: str) -> None:
        """Take a note of one picture's file, or one for all files of which the same is to be told. text: without the
        file's name."""
        if text in self._told:
            self.notes[self._told[text]] = f"{Path(self._target).name}: {text}"
        else:
            self._told[text] = len(self.notes)
            self.notes.append(note)

    def close(self) -> None:
        return
