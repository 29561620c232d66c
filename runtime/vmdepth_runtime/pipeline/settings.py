"""What `vmdepth-run` was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth_runtime import bundled
from vmdepth_runtime.camera.lens import Intrinsics
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.depth_encodings import DepthEncoding
from vmdepth_runtime.palettes import PALETTE
from vmdepth_runtime.sources.settings import LiveSettings, ReadSettings

if TYPE_CHECKING:
    from vmdepth_runtime.depth.scale.metres import MetresGiven  # and NumPy, which arguments need not wait for

BACKENDS = ("auto", "onnxruntime", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class RunSettings:
    """Settings of one run. Its defaults are those of the command.

    Attributes:
        sources: What `open_source` takes, folders of videos, and patterns of them: one after the other.
        outputs: What `open_sink` takes; "{name}" in a name is what the source is called, or a picture, and "{}" the
            number of the source, from 0. None at all means, in the current folder, `<name>.depth.mp4`, of a picture
            `<name>.depth.png` and of a folder of them `<folder>.depth/<name>.png`, in colours.
        model: A step graph, an engine, or a checkpoint, of which a step graph is made once and kept; or the
            name of one on Hugging Face, which is downloaded once.
        input_size: Height and width that frames are brought to, pixels; None is the model's own.
        offline: Go over the whole video with a checkpoint of a network that sees the future, too.
        backend: What has to run the model; "auto" is what it is made for.
        device: "cpu", "cuda" or "cuda:N" (a GPU by its number), "tensorrt[:N]" (by ONNX Runtime's TensorRT); None is
            the first GPU, where there is one that can be used.
        threads: Of the network on the CPU; None is all cores.
        resize: How a frame becomes the model's size.
        depth_only: Videos, windows and pages without the source beside the depth.
        palette: The colours of depth, one of `palettes.PALETTES`.
        colour: Pictures that could hold depth itself show it in colours instead.
        dynamic_mask: True: the model has to tell what moves by itself, and of a checkpoint a step graph is made that
            does. False: no notice is taken of what a model tells, but that archives keep it. None: it is marked, and
            left out of clouds and of the fit to key frames, where the model tells.
        max_height: Rows that videos, windows and pages have at most, the aspect kept; 0: as many as the source.
        fov: Degrees that a frame is wide.
        intrinsics: fx, fy, cx, cy of the source's frames, in pixels, or a calibration file, in place of `fov`, and of
            what a source says itself. What the camera sees makes points, and metres of a network that needs the focal
            length.
        rectify: Frames are freed of their camera's distortion before anything else is done with them.
        metres: What makes metres of a model's relative or scaled depth, as `vmdepth-calibrate scale` tells it.
        align_to: The topic of measured depth in the same recording that scale and shift follow instead.
        cloud: Which points of a frame go into a cloud.
        compress: Archives and recordings are compressed.
        depth_encoding: Of depth in recordings, as ROS names it.
        points: Recordings have a cloud of each frame.
        anchored: Whether states and scale go back to a key frame's where a place is seen again.
        keyframes: Fields of `KeyframeSettings` that differ from the model's own; one that is None does not.
        cuts: Whether a stream starts anew where a scene begins, with the first frame of it; None: of sources that do
            not tell themselves where their frames do not continue, which are files.
        streams: All sources are taken at once, one for each stream of the model.
        read: Which frames are taken, and what a folder of images is.
        live: How live sources are held on to; its `stall` is also when a stage of the pipeline counts as stalled.
        strict: Stop when the network gives what is not finite.
        verify: Compare the model's file with its digest before it runs.
        report: Where the report goes, as JSON.
    """

    sources: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    model: Path = bundled.MODEL
    input_size: tuple[int, int] | None = None
    offline: bool = False
    backend: str = "auto"
    device: str | None = None
    threads: int | None = None
    resize: Resize = "area"
    depth_only: bool = False
    palette: str = PALETTE
    colour: bool = False
    dynamic_mask: bool | None = None
    max_height: int = 720
    fov: float | None = None
    intrinsics: Intrinsics | None = None
    rectify: bool = False
    metres: MetresGiven | None = None
    align_to: str | None = None
    cloud: CloudSettings = field(default_factory=CloudSettings)
    compress: bool = False
    depth_encoding: DepthEncoding = "32FC1"
    points: bool = False
    anchored: bool = True
    keyframes: Mapping[str, float | None] = field(default_factory=dict)
    cuts: bool | None = None
    streams: bool = False
    read: ReadSettings = field(default_factory=ReadSettings)
    live: LiveSettings = field(default_factory=LiveSettings)
    strict: bool = False
    verify: bool = True
    report: Path | None = None

    @property
    def heeds_moving(self) -> bool:
        """Whether notice is taken of what a model says moves."""
        return self.dynamic_mask is not False
