"""What `vmdepth-calibrate scale` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class ScaleSettings:
    """Settings of one fit of metres. Its defaults are those of the command.

    Attributes:
        model: A step graph of relative or scaled depth, or the name of one on Hugging Face; None: the bundled one.
        data: Where depth was measured: an RGB-D folder (`vmdepth.data.rgbd`) or a folder of such, a recording of a
            robot (.mcap, or a rosbag2 folder), or "rendered:CLIPSxFRAMES".
        output: The .onnx file.
        topic: The pictures of a recording that has several topics of them.
        depth_topic: Its measured depth, where there are several topics of that.
        camera: Calibration file, or fx, fy, cx, cy, of its pictures, which points are brought into; None: what the
            recording says.
        frames: At most so many frames with measured depth, of ten times as many at most; the last fifth only measures.
        limit: The median error of the held-out frames, as a share of the distance, above which nothing is written.
        report: Where all figures go, as JSON.

    Raises:
        InputError: A limit that cannot be meant.
    """

    model: Path | None
    data: str
    output: Path
    topic: str | None = None
    depth_topic: str | None = None
    camera: str | None = None
    frames: int = 1000
    limit: float = 0.2
    report: Path | None = None

    def __post_init__(self) -> None:
        if not self.limit > 0:  # nothing is beyond NaN
            raise InputError(f"--limit {self.limit:g}: should be a share of the distance, above 0")

    @property
    def network(self) -> Path:
        """What `model` stands for."""
        return self.model or bundled.MODEL
