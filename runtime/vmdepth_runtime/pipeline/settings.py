"""What `vmdepth-run` was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth_runtime import bundled
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.sources.settings import LiveSettings

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.base import Device

BACKENDS = ("auto", "onnxruntime", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class RunSettings:
    """Settings of one run. Its defaults are those of the command.

    Attributes:
        sources: What `open_source` takes, one for each stream of the model.
        outputs: What `open_sink` takes; "{}" in a name is the number of the source. None at all means
            `<source>.depth.mp4` in the current folder.
        model: A step graph or an engine.
        backend: What has to run the model; "auto" is what it is made for.
        device: Of a step graph; None is CUDA where there is one.
        threads: Of the network on the CPU; None is all cores.
        resize: How a frame becomes the model's size.
        depth_only: Videos, windows and pages without the source beside the depth.
        max_height: Rows that videos, windows and pages have at most, the aspect kept; 0: as many as the source.
        fov: Degrees that a frame is wide.
        intrinsics: fx, fy, cx, cy of the source's frames, in pixels.
        anchored: Whether states and scale go back to a key frame's where a place is seen again.
        keyframes: Fields of `KeyframeSettings` that differ from the model's own; one that is None does not.
        live: How live sources are held on to; its `stall` is also when a stage of the pipeline counts as stalled.
        strict: Stop when the network gives what is not finite.
        verify: Compare the model's file with its digest before it runs.
        report: Where the report goes, as JSON.
    """

    sources: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    model: Path = bundled.MODEL
    backend: str = "auto"
    device: Device | None = None
    threads: int | None = None
    resize: Resize = "area"
    depth_only: bool = False
    max_height: int = 720
    fov: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    anchored: bool = True
    keyframes: Mapping[str, float | None] = field(default_factory=dict)
    live: LiveSettings = field(default_factory=LiveSettings)
    strict: bool = False
    verify: bool = True
    report: Path | None = None
