"""Depth of a camera's pictures, its lens as it becomes known."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.resize import DepthResizer
from vmdepth_runtime.depth.scale.metres import Metres, check_metres
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.ros.settings import RosSettings
from vmdepth_runtime.sessions.base import StepOutputs, StepSession
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.clouds import Clouds
from vmdepth_runtime.sources.base import MIN_SIDE, VideoInfo


class StampedDepth(NamedTuple):
    """Depth of a picture.

    Attributes:
        depth: float32 `[H, W]`, as large as the picture; all NaN where the network failed. The next picture overwrites
            it.
        outputs: what else the network gave, likewise.
        restarted: why the states began anew with this picture; empty where they went on.
        finite: whether network and states are as they should be.
    """

    depth: NDArray[np.float32]
    outputs: StepOutputs
    restarted: str
    finite: bool


class CameraStream:
    """A stream of depth for one camera, which begins anew where its pictures do not go on: where time jumps, with
    another size, and with another lens where depth depends on it.

    Args:
        session: the model, of one stream; closed by whoever made it.
        settings: of the node.
        topic: what pictures come on, for errors.

    Raises:
        InputError: metres that cannot be made of the model's depth.
    """

    def __init__(self, session: StepSession, settings: RosSettings, topic: str) -> None:
        self._session, self._settings, self._topic = session, settings, topic
        self._bring_back = DepthResizer(settings.resize)
        self._depth = np.empty((0, 0), np.float32)
        self._lens: Lens | None = None
        self._metres = Metres.of(settings.metres)
        check_metres(self._metres, session.contract, settings.model)
        self._batch = self._new_batch()
        self._clouds: Clouds | None = None
        self._near: float | None = None  # of relative depth the unit of points, by the first picture that has any

    @property
    def contract(self) -> StepContract:
        """What there is to know of the depth."""
        return self._batch.contract

    @property
    def needs_lens(self) -> bool:
        """Whether there is no depth without a lens."""
        return self._session.contract.metric_focal is not None

    def step(self, image: NDArray[np.uint8], lens: Lens | None, jump: str = "") -> StampedDepth:
        """Go one picture further.

        Args:
            image: uint8 `[H, W, 3]` RGB.
            lens: of the camera; None where it is not known, but where `needs_lens` says so.
            jump: why it does not go on from the picture before; empty where it does, as far as time tells.

        Raises:
            InputError: a picture that is too small, or a lens that does not fit it.
        """
        height, width = image.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise InputError(f"{self._topic}: is {width}x{height}; at least {MIN_SIDE}x{MIN_SIDE} is needed")
        restarted = self._why_anew(image, lens, jump)
        if lens != self._lens or self._depth.shape != (height, width):
            self._lens, self._clouds = lens, None
            if lens is not None:
                lens.camera(width, height, self._topic)  # raises where it does not fit
            if self.needs_lens:
                self._batch = self._new_batch()
            self._depth = np.empty((height, width), np.float32)
        if restarted:
            self._batch.restart(0)
            self._clouds = self._near = None
        (result,) = self._batch.step([image])
        assert result is not None
        self._bring_back(result.depth, self._depth)
        return StampedDepth(self._depth, result.outputs, restarted, result.finite)

    def points(self, image: NDArray[np.uint8], stepped: StampedDepth) -> PointCloud:
        """The points of the picture that was stepped last, with a lens."""
        height, width = image.shape[:2]
        if self._clouds is None:
            info = VideoInfo(width, height, None, 30.0, Fraction(1, 10**9))
            facts = SinkFacts(
                info,
                depth_kind=self.contract.depth_kind,
                near=self._near,
                lens=self._lens,
                cloud=self._settings.cloud,
                heed_moving=self._settings.heeds_moving,
            )
            self._clouds = Clouds(facts)
        cloud = self._clouds.of(image, stepped.depth, stepped.outputs)
        self._near = self._clouds.near
        return cloud

    def _why_anew(self, image: NDArray[np.uint8], lens: Lens | None, jump: str) -> str:
        if not self._depth.size:
            return ""  # nothing came before
        if self._depth.shape != image.shape[:2]:
            return f"pictures are {image.shape[1]}x{image.shape[0]} from here on"
        return jump or ("the camera is another one" if self.needs_lens and lens != self._lens else "")

    def _new_batch(self) -> StreamBatch:
        contract = self._session.contract
        anchored = self._settings.anchored and bool(contract.states)
        return StreamBatch(
            self._session,
            resize=self._settings.resize,
            keyframes=KeyframeSettings.of(contract.keyframes, **self._settings.keyframes) if anchored else None,
            lens=self._lens,
            heed_moving=self._settings.heeds_moving,
            metres=self._metres,
        )
