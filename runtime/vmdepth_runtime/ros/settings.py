"""What `vmdepth-ros` was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from vmdepth_runtime import bundled
from vmdepth_runtime.camera.lens import Intrinsics
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.depth_encodings import DepthEncoding
from vmdepth_runtime.sources.settings import LiveSettings

if TYPE_CHECKING:
    from vmdepth_runtime.depth.scale.metres import MetresGiven  # and NumPy, which arguments need not wait for

Reliability: TypeAlias = Literal["best_effort", "reliable"]
"""A policy of ROS 2's quality of service, by its name there."""
RELIABILITIES: tuple[Reliability, ...] = get_args(Reliability)


@dataclass(frozen=True)
class RosSettings:
    """Settings of the node. Its defaults are those of the command.

    Attributes:
        image: Topic of the camera's pictures; a name that ROS may remap.
        compressed: Whether those are `CompressedImage`; None: where the topic's name ends in "compressed", as those of
            image_transport do.
        camera_info: Topic of the camera's `CameraInfo`; None: beside the pictures, where ROS has it, or below them.
        model: A step graph, an engine, a checkpoint or a name, as of `RunSettings`.
        input_size: Height and width that frames are brought to, pixels; None is the model's own.
        device: "cpu", "cuda" or "cuda:N", "tensorrt[:N]"; None is the first GPU, where there is one that can be used.
        threads: Of the network on the CPU; None is all cores.
        resize: How a frame becomes the model's size.
        dynamic_mask: Whether the model has to tell what moves (True), or no notice is taken of it (False); None: what
            moves is left out of clouds and of the fit to key frames, where the model tells.
        fov: Degrees that a frame is wide; in place of `CameraInfo`.
        intrinsics: fx, fy, cx, cy of the frames, in pixels, or a calibration file; likewise.
        rectify: Pictures are freed of their camera's distortion before anything else is done with them; depth, camera
            and points are of straight ones then. They wait for the camera.
        metres: What makes metres of a model's relative or scaled depth, as of `RunSettings`.
        depth_encoding: "32FC1", or "16UC1" of depth that is in metres.
        cloud: Which points of a frame go into a cloud.
        anchored: Whether states and scale go back to a key frame's where a place is seen again.
        keyframes: Fields of `KeyframeSettings` that differ from the model's own; one that is None does not.
        max_gap: Seconds between the stamps of two frames above which the second does not continue the first. Nor does
            one that is earlier.
        reliability: With which frames and cameras are asked for. Best effort gets them from whoever sends them.
        output_reliability: With which depth, camera and points are sent. Reliable reaches whoever asks for them.
        queue: Messages that are kept for whoever is slow, the depth of the history of ROS 2's quality of service.
        verify: Compare the model's file with its digest before it runs.
    """

    image: str = "image"
    compressed: bool | None = None
    camera_info: str | None = None
    model: Path = bundled.MODEL
    input_size: tuple[int, int] | None = None
    device: str | None = None
    threads: int | None = None
    resize: Resize = "area"
    dynamic_mask: bool | None = None
    fov: float | None = None
    intrinsics: Intrinsics | None = None
    rectify: bool = False
    metres: MetresGiven | None = None
    depth_encoding: DepthEncoding = "32FC1"
    cloud: CloudSettings = field(default_factory=CloudSettings)
    anchored: bool = True
    keyframes: Mapping[str, float | None] = field(default_factory=dict)
    max_gap: float = LiveSettings.max_gap
    reliability: Reliability = "best_effort"
    output_reliability: Reliability = "reliable"
    queue: int = 5
    verify: bool = True

    @property
    def heeds_moving(self) -> bool:
        """Whether notice is taken of what a model says moves."""
        return self.dynamic_mask is not False
