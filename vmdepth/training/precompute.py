"""Asks a teacher for the depth of whole videos once, not once per epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.data.videos import Unreadable, Video, find_videos
from vmdepth.official.hub import local_file
from vmdepth.training.precompute_settings import PrecomputeSettings
from vmdepth.training.processes import Processes
from vmdepth.training.teacher_depth import claim, depth_file, spans_of
from vmdepth.training.teachers import Teacher
from vmdepth_runtime.atomic_files import part_name
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.integrity import file_hash


@dataclass(frozen=True)
class Precomputed:
    """videos: how many there were. left_out: what this process could not read, and why."""

    videos: int
    left_out: list[str]


def precompute(
    settings: PrecomputeSettings, report: Callable[[int, int, int], None] = lambda done, total, videos: None
) -> Precomputed:
    """Write the teacher's depth of all videos; what is there already stays. Under torchrun every process does its part.

    Args:
        settings: what `vmdepth-precompute` takes.
        report: told spans of frames done, all spans of this process, and the number of videos.

    Raises:
        InputError: for videos that have depth of their own, a teacher that cannot be loaded, and a folder that holds
            depth of another teacher or side.
        WorkError: where nothing can be read or written.
    """
    videos = [video for video in find_videos(settings.data) if not video.labelled]
    if not videos:
        raise InputError(f"{settings.data}: has depth of its own already; train with it as it is")
    processes = Processes(settings.device)
    teacher = Teacher(settings.teacher, processes.device)

    def told(done: int, total: int) -> None:
        report(done, total, len(videos))

    left_out = write_depth(videos, teacher, settings.out, settings.side, told, processes.rank, processes.count)
    processes.close()
    return Precomputed(len(videos), left_out)


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
        "weights": file_hash(local_file(teacher.path)),
        "side": side,
        "videos": {video.name: str(n) for n, video in enumerate(videos)},
    }
    claim(folder, index)
    spans = [(video, span) for video in videos for span in spans_of(len(video))][process::processes]
    device = next(teacher.network.parameters()).device
    left_out = []
    for done, (video, span) in enumerate(spans):
        report(done, len(spans))
        file = depth_file(folder, index, video.name, span)
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


def _sized(images: NDArray[np.uint8], side: int, stride: int) -> NDArray[np.uint8]:
    """Pictures with their shorter side at `side` pixels, both rounded to multiples of the teacher's stride."""
    scale = side / min(images.shape[1:3])
    rows, columns = (max(stride, round(length * scale / stride) * stride) for length in images.shape[1:3])
    return np.stack([cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) for image in images])
