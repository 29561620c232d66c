"""Every setting of `vmdepth-eval`, its default in sight. Imports nothing heavy: the command's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLIPS, FRAMES = 64, 16
"""Held-out rendered clips, and frames of each, where nobody says another number."""


@dataclass(frozen=True)
class EvalSettings:
    """model: checkpoint or step graph (.safetensors, .pth, .onnx), or the name of one on Hugging Face. data:
    "rendered", "rendered:CLIPS", "rendered:CLIPSxFRAMES", an RGB-D folder or a folder of such. against: a second
    model, evaluated beside the first. teacher: a checkpoint whose depth is taken for the truth of plain footage; data
    is then a video, a folder of pictures or a folder of such.

    report, plots, sheet, video: what to write beside the figures: JSON, a folder of curves, a contact sheet (.png), a
    film of the first sequence (.mp4). official: prepare pictures as Depth Anything V2 does, whatever the
    model. causal: form of attention over time of checkpoints, the past alone or the whole clip; None is their own.
    device: that step graphs and engines run on, as `Device.named` reads it; None takes the first GPU where it can.
    """

    model: Path
    data: str
    against: Path | None = None
    teacher: Path | None = None
    report: Path | None = None
    plots: Path | None = None
    sheet: Path | None = None
    video: Path | None = None
    official: bool = False
    causal: bool | None = None
    device: str | None = None

    @property
    def models(self) -> dict[str, Path]:
        """The models by what they are called in reports."""
        return {"model": self.model} | ({"against": self.against} if self.against else {})
