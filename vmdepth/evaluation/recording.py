"""One pass of one or several models over a sequence: everything that figures are worked out from afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vmdepth.data.flow import optical_flow
from vmdepth.data.rgbd import RgbdFrame, at_places, depth_in_image
from vmdepth.evaluation.alignment import METRES, inverse_of
from vmdepth.evaluation.array_file import ArrayFile
from vmdepth.evaluation.consistency import warp_error
from vmdepth.evaluation.masks import Overlap, overlap
from vmdepth.evaluation.truth import MEASURED, Truth
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.metres import metric_scale
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.outputs import DYNAMIC, DYNAMIC_THRESHOLD
from vmdepth_runtime.sessions.base import StepSession


@dataclass
class ModelTrack:
    """What one model gave, frame by frame.

    kind: of its depth, once all frames are seen. inverse: predicted inverse depth, float32 [H, W] at the picture's
    size; measured: the same [h, w] where depth was measured. warp_errors: `warp_error` with the frame before, of
    `inverse` as it is; NaN for the first. state_rms: root mean square of what each frame left in the states; None for a
    model without any. overlaps: of what it says moves with what does, of every frame where both are known.
    """

    kind: DepthKind = METRES
    inverse: ArrayFile = field(default_factory=ArrayFile)
    measured: ArrayFile = field(default_factory=ArrayFile)
    warp_errors: list[float] = field(default_factory=list)
    state_rms: list[float | None] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)


@dataclass
class Recording:
    """What is true, frame by frame, and a track per model.

    true: depth [h, w] where it was measured, metres (of a teacher's: `truth.unit`), 0 unknown, inf sky. heights: where
    that lies in the picture, [h, w], from −1 above to 1 below. truth: what it is. shapes: all that true has. static:
    true inverse depth [H, W], 1/m, of what stands still, NaN elsewhere; of what is known where nobody says what moves.
    by_flow: points are found again in the next frame by optical flow, not by poses: beside a teacher's depth, and where
    there are masks of what moves and no poses. flows: there, from every frame but the last to the next, [H, W, 2],
    pixels. intrinsics [3, 3] and poses [4, 4] of the colour camera; a pose that was not measured is None.
    """

    true: ArrayFile
    tracks: list[ModelTrack]
    truth: Truth = MEASURED
    heights: ArrayFile = field(default_factory=ArrayFile)
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    static: ArrayFile = field(default_factory=ArrayFile)
    by_flow: bool = False
    flows: ArrayFile = field(default_factory=ArrayFile)
    intrinsics: list[NDArray[np.float64] | None] = field(default_factory=list)
    poses: list[NDArray[np.float64] | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.true)


class Predictor(Protocol):
    """Inverse depth of one picture after the other, and the RMS of the states that each left, None without any.

    kind: of the depth that it is the inverse of; what is metric by its camera alone is scaled where that is not known.
    moves: what moves by itself in the last picture, bool [H, W]; None of a model that does not tell.
    """

    kind: DepthKind
    moves: NDArray[np.bool_] | None

    def __call__(
        self, image: NDArray[np.uint8], intrinsics: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]: ...
    def state_rms(self) -> float | None: ...


class Model(Protocol):
    """What is evaluated: a session (`Streamed`), or a network that sees the whole sequence (`ClipNetwork`)."""

    def predictor(self, frames: Iterable[RgbdFrame], resize: Resize) -> Predictor:
        """For the pictures of `frames`, to be asked in their order, from the model's initial states on.

        resize: how pictures come to the model's size and depth back to theirs, as in `vmdepth-run`.
        """


class Streamer:
    """A session from its initial states on, fed with pictures of any one size.

    resize: how pictures come to the model's size and depth back to theirs, as in `vmdepth-run`.
    """

    def __init__(self, session: StepSession, resize: Resize) -> None:
        self._session = session
        self._resize: Resize = resize
        self._bring_back = DepthResizer(resize)
        self.kind = session.contract.depth_meaning
        self.moves: NDArray[np.bool_] | None = None
        session.reset()

    def __call__(self, image: NDArray[np.uint8], intrinsics: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Inverse depth float32 [H, W] of the next picture, uint8 [H, W, 3] RGB; 1/m where the model is metric.

        intrinsics: [3, 3] of the picture's camera, in its pixels: a graph with a `metric_focal` needs them for metres.
        """
        contract = self._session.contract
        resize_frame(image, self._session.frame[0], self._resize)
        depth = np.empty(image.shape[:2], np.float32)
        outputs = self._session.step()
        self._bring_back(outputs["depth"][0], depth)
        if DYNAMIC in outputs:
            share = np.empty(image.shape[:2], np.float32)
            DepthResizer(self._resize)(outputs[DYNAMIC][0], share)
            self.moves = share >= DYNAMIC_THRESHOLD
        if contract.metric_focal is not None:
            if intrinsics is None:
                self.kind = DEPTH_KINDS["scaled"]
            else:
                fx, fy, cx, cy = intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
                lens = Lens("intrinsics of the picture", pinhole=PinholeCamera(fx, fy, cx, cy))
                depth *= np.float32(metric_scale(contract, lens, *image.shape[:2]))
        return inverse_of(depth, self.kind)

    def state_rms(self) -> float | None:
        """Root mean square of all values that the last step left in the states, the frame counter excepted.

        Of rings that is the frame's own entry. None for a model that remembers nothing.
        """
        states = [array.ravel() for name, array in self._session.next_states().items() if name != "counter"]
        count = sum(state.size for state in states)
        squares = sum(float(np.dot(state, state)) for state in (s.astype(np.float32, copy=False) for s in states))
        return (squares / count) ** 0.5 if count else None


@dataclass(frozen=True)
class Streamed:
    """A session as a model: every sequence anew, frame by frame, nothing of it known beforehand."""

    session: StepSession

    def predictor(self, frames: Iterable[RgbdFrame], resize: Resize) -> Predictor:
        return Streamer(self.session, resize)


def record(
    models: Sequence[Model],
    frames: Iterable[RgbdFrame],
    resize: Resize,
    truths: ArrayFile,
    truth: Truth = MEASURED,
    moved: Callable[[], None] = lambda: None,
) -> Recording:
    """Stream a sequence through every model at once, each from its initial states.

    frames: can be gone through more than once, which a network that sees all of them does. truths: takes the true
    depths; the recording keeps its own part of it. truth: what they are. moved: called after every frame. Memory does
    not grow with the stream, but for some numbers per frame.
    """
    begin = len(truths)
    predictors = [model.predictor(frames, resize) for model in models]
    tracks = [ModelTrack() for _ in models]
    recording = Recording(truths, tracks, truth)
    before: RgbdFrame | None = None
    last: list[NDArray[np.float32]] = []
    for frame in frames:
        now = [predictor(frame.image, frame.intrinsics) for predictor in predictors]
        flow = None if before is None else _flow(before, frame)
        recording.by_flow = truth.teacher != "" or (frame.pose is None and frame.moving is not None)
        if recording.by_flow and flow is not None:
            recording.flows.append(flow)
        for index, (track, predictor, inverse) in enumerate(zip(tracks, predictors, now, strict=True)):
            measured, true = at_places(inverse, frame)
            track.inverse.append(inverse)
            track.measured.append(measured)
            track.state_rms.append(predictor.state_rms())
            if predictor.moves is not None and frame.moving is not None:
                track.overlaps.append(overlap(predictor.moves, frame.moving))
            error = np.nan
            if before is not None and flow is not None:
                error = warp_error(last[index], inverse, before.image, frame.image, flow)
            track.warp_errors.append(error)
        truths.append(true)
        recording.shapes.add(true.shape)
        recording.heights.append(
            frame.places[..., 1] / np.float32(max(frame.image.shape[0] - 1, 1) / 2) - np.float32(1)
        )
        if frame.pose is not None or recording.by_flow:
            recording.static.append(_static(frame))
        recording.intrinsics.append(frame.intrinsics)
        recording.poses.append(frame.pose)
        before, last = frame, now
        moved()
    for track, predictor in zip(tracks, predictors, strict=True):
        track.kind = predictor.kind
    recording.true = truths[begin:]
    return recording


def _flow(frame: RgbdFrame, following: RgbdFrame) -> NDArray[np.float32]:
    return optical_flow(frame.image, following.image) if frame.flow is None else frame.flow


def _static(frame: RgbdFrame) -> NDArray[np.float32]:
    depth = depth_in_image(frame)
    known = np.isfinite(depth) & (depth > 0)
    if frame.moving is not None:
        known &= ~frame.moving
    return np.where(known, 1 / np.where(known, depth, 1), np.nan).astype(np.float32)
