"""What to evaluate on: held-out rendered clips, or a folder of colour and measured depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmdepth.data.rgbd import RgbdFolder, RgbdFrame, rendered_frames
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class RenderedClip:
    """The first `frames` frames of a seed's endless stream, height × width pixels; rendered anew at each iteration."""

    seed: int
    frames: int
    height: int
    width: int

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[RgbdFrame]:
        return rendered_frames(self.seed, self.frames, self.height, self.width)


@dataclass(frozen=True)
class HeldOut:
    """How many rendered clips, of how many frames: the seeds 0 .. clips − 1, which training never draws."""

    clips: int = 64
    frames: int = 16

    def sequences(self, height: int, width: int) -> list[RenderedClip]:
        return [RenderedClip(seed, self.frames, height, width) for seed in range(self.clips)]


def open_data(data: str) -> HeldOut | RgbdFolder:
    """What "rendered", "rendered:CLIPS", "rendered:CLIPSxFRAMES" or the path of an RGB-D folder stands for.

    Raises InputError for numbers that make no clip, and for a path that is no folder, or not of the kind.
    """
    if data.partition(":")[0] != "rendered":
        path = Path(data)
        if not path.is_dir():
            raise InputError(
                f"{path}: no such folder; name one with rgb/, depth/ and intrinsics.json, or 'rendered:64x16'"
            )
        return RgbdFolder(path)
    match = re.fullmatch(r"rendered(?::(\d+)(?:x(\d+))?)?", data)
    numbers = [int(number) for number in match.groups() if number] if match else [0]
    if 0 in numbers:
        raise InputError(f"data '{data}': should be 'rendered:CLIPSxFRAMES', for example rendered:64x16, or a folder")
    return HeldOut(*numbers)


def describe(source: HeldOut | RgbdFolder) -> str:
    if isinstance(source, RgbdFolder):
        return f"{len(source)} frames of {source.path}"
    return f"{source.clips} held-out rendered clips of {source.frames} frames"
