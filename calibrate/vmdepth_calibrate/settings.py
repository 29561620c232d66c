"""What `vmdepth-calibrate` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmdepth_calibrate.quantise import QuantisationForm, QuantisedPrecision


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of one calibration. Its defaults are those of the command.

    Attributes:
        model: A float32 step graph, or the name of one on Hugging Face.
        data: Video, image folder or recording of a robot, like what the camera will see.
        output: The .onnx file.
        precision: What the layers are quantised to.
        form: What the quantised graph is for; each form is slow or refused on the other.
        topic: The pictures of a recording that has several topics of them.
        frames: At most so many of the data; the last fifth only measures.
        sensitivity: Whether to measure what each layer costs alone.
        keep_above: Layers that alone cost more (see `LayerCost`) stay in float32; None keeps none.
        report: Where all figures go, as JSON.
    """

    model: Path
    data: str
    output: Path
    precision: QuantisedPrecision = "int8"
    form: QuantisationForm = "tensorrt"
    topic: str | None = None
    frames: int = 300
    sensitivity: bool = False
    keep_above: float | None = None
    report: Path | None = None
