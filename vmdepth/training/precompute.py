"""A teacher's depth of whole videos, on disk: a strong teacher is asked once, not once per epoch.

The folder holds `index.json`, and for every video a folder of `.npz` files, one for each span of frames that the
teacher saw together: `inverse_depth`, float16 [n, h, w].
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.data.videos import Footage, Unreadable, Video
from vmdepth.training.teachers import Teacher
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError, WorkError

SPAN = 32
"""Frames the teacher sees together: as many as Video Depth Anything takes."""

_INDEX = "index.json"


def write_depth(
    videos: Sequence[Video],
    teacher: Teacher,
    folder: Path,
    side: int,
    report: Callable[[int, int], None],
    process: int = 0,
    processes: int = 1,
) -> list[str]:
    """Write the teacher's depth of all videos; what is there already stays. Returns what was left out, and why.

    side: pixels of the shorter side that the teacher sees. report: told spans done and all spans of this process, which
    takes every `processes`-th. Raises InputError where the folder holds depth of another teacher or side, and WorkError
    where nothing can be read or written.
    """
    index = {
        "teacher": str(teacher.path),
        "side": side,
        "videos": {video.name: str(n) for n, video in enumerate(videos)},
    }
    _claim(folder, index)
    spans = [(video, span) for video in videos for span in _spans(len(video))][process::processes]
    device = next(teacher.network.parameters()).device
    left_out = []
    for done, (video, span) in enumerate(spans):
        report(done, len(spans))
        file = _file(folder, index, video.name, span)
        if file.exists():
            continue
        try:
            images = video.read(span).images
        except Unreadable as error:
            left_out.append(str(error))
            continue
        clip = torch.from_numpy(_sized(images, side, teacher.stride)).permute(0, 3, 1, 2)[None].to(device).float() / 255
        depth = teacher(clip)[0, :, 0].cpu().numpy()
        part = part_name(file)
        try:
            file.parent.mkdir(exist_ok=True)
            with part.open("wb") as out:
                np.savez_compressed(out, inverse_depth=(depth / max(float(depth.max()), 1e-6)).astype(np.float16))
            part.replace(file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise WorkError(f"{file}: cannot be written ({error.strerror}); is the disk full?") from None
    report(len(spans), len(spans))
    if left_out and len(left_out) == len(spans):
        raise WorkError(f"no frame could be read; the first: {left_out[0]}")
    return left_out


class LabelledVideo(Video):
    """A video with a teacher's depth from disk. index: of the folder. Raises InputError where it does not have it."""

    def __init__(self, video: Video, folder: Path, index: dict[str, Any]) -> None:
        super().__init__(video.path, len(video))
        self._video, self._folder, self._index = video, folder, index
        if video.name not in index["videos"]:
            raise InputError(f"{folder}: holds no depth of {video.name}; run vmdepth-train precompute with it")
        self.spans = [span for span in _spans(len(video)) if self._of(span).exists()]
        self.labelled = True

    def _of(self, span: range) -> Path:
        return _file(self._folder, self._index, self._video.name, span)

    def read(self, numbers: Sequence[int]) -> Footage:
        span = next(span for span in self.spans if numbers[0] in span and numbers[-1] in span)
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
    return (path / _INDEX).is_file()


def _spans(frames: int) -> list[range]:
    """All frames in spans of `SPAN`; the last reaches back into the one before it, so that it is as long."""
    starts = [min(start, max(frames - SPAN, 0)) for start in range(0, frames, SPAN)]
    return [range(start, min(start + SPAN, frames)) for start in starts]


def _claim(folder: Path, index: dict[str, Any]) -> None:
    """Start or go on: the same videos by the same teacher. The index is written once, whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_precomputed(folder):
            if read_index(folder) != index:
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


def _file(folder: Path, index: dict[str, Any], name: str, span: range) -> Path:
    return folder / index["videos"][name] / f"{span[0]:06d}.npz"


def _sized(images: NDArray[np.uint8], side: int, stride: int) -> NDArray[np.uint8]:
    """Pictures with their shorter side at `side` pixels, both rounded to multiples of the teacher's stride."""
    scale = side / min(images.shape[1:3])
    rows, columns = (max(stride, round(length * scale / stride) * stride) for length in images.shape[1:3])
    return np.stack([cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) for image in images])
