"""A teacher's depth of whole videos on disk, and videos that take theirs from there.

The folder holds `index.json`, and for every video a folder of `.npz` files, one for each span of frames that the
teacher saw together: `inverse_depth`, float16 [n, h, w].
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vmdepth.data.videos import Footage, Unreadable, Video
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError

SPAN = 32
"""Frames the teacher sees together: as many as Video Depth Anything takes."""

_INDEX = "index.json"


class LabelledVideo(Video):
    """A video with a teacher's depth from disk.

    index: of the folder. in_part: what is not there is footage without depth; else it is left out. stored, missing: how
    many spans are there, and are not. Raises InputError where the folder does not know the video, unless it is in part.
    """

    def __init__(self, video: Video, folder: Path, index: dict[str, Any], in_part: bool = False) -> None:
        super().__init__(video.path, len(video))
        self._video, self._folder, self._index = video, folder, index
        known = video.name in index["videos"]
        if not known and not in_part:
            raise InputError(f"{folder}: holds no depth of {video.name}; run vmdepth-precompute with it")
        spans = spans_of(len(video))
        self._stored = [span for span in spans if known and self._of(span).exists()]
        self.stored, self.missing = len(self._stored), len(spans) - len(self._stored)
        self.spans = spans if in_part else self._stored
        self.labelled = self.missing == 0 or not in_part

    def _of(self, span: range) -> Path:
        return depth_file(self._folder, self._index, self._video.name, span)

    def read(self, numbers: Sequence[int]) -> Footage:
        span = next((span for span in self._stored if numbers[0] in span and numbers[-1] in span), None)
        if span is None:
            return self._video.read(numbers)
        file = self._of(span)
        try:
            with np.load(file, allow_pickle=False) as stored:
                depth = stored["inverse_depth"].astype(np.float32)
            depth = depth[[number - span[0] for number in numbers]]
        except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise Unreadable(f"{file}: not readable ({error}); delete it and precompute again") from None
        footage = self._video.read(numbers)
        return replace(footage, inverse_depth=depth, metric=False)


def is_precomputed(path: Path) -> bool:
    """Whether a path is a folder of teachers' depth, and no checkpoint of one."""
    return (path / _INDEX).is_file()


def spans_of(frames: int) -> list[range]:
    """All frames in spans of `SPAN`; the last reaches back into the one before it, so that it is as long."""
    starts = [min(start, max(frames - SPAN, 0)) for start in range(0, frames, SPAN)]
    return [range(start, min(start + SPAN, frames)) for start in starts]


def claim(folder: Path, index: dict[str, Any]) -> None:
    """Start or go on: the same videos by the same teacher. The index is written once, whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_precomputed(folder):
            if read_index(folder) | {"teacher": index["teacher"]} != index:  # its weights tell who it is
                raise InputError(
                    f"{folder}: holds depth of other videos, or of another teacher or size; choose another"
                )
            return
        part = part_name(folder / _INDEX)
        part.write_text(json.dumps(index, indent=2))
        part.replace(folder / _INDEX)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None


def read_index(folder: Path) -> dict[str, Any]:
    """What a folder of precomputed depth holds. Raises InputError where that cannot be read."""
    try:
        index = json.loads((folder / _INDEX).read_text())
        index["videos"].keys()
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{folder / _INDEX}: not readable ({error}); precompute again") from None
    return index


def depth_file(folder: Path, index: dict[str, Any], name: str, span: range) -> Path:
    """Where the depth of a span of a video lies. name: of the video."""
    return folder / index["videos"][name] / f"{span[0]:06d}.npz"
