"""Several streams through one session, each with its own states, key frames and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.keyframes import KeyframeBank
from vmdepth_runtime.depth.metres import metric_scale, scale_pose
from vmdepth_runtime.depth.resize import resize_frame
from vmdepth_runtime.depth.scale.metres import Metres, in_metres
from vmdepth_runtime.depth.scale.running import RunningMetres
from vmdepth_runtime.depth.scene_cuts import CutDetector
from vmdepth_runtime.outputs import DYNAMIC, DYNAMIC_THRESHOLD
from vmdepth_runtime.sessions.base import StepOutputs, StepSession

_AS_FAR = 0.999  # times the farthest depth: but for rounding
_NO_DISTANCE = 1e-3  # metres, below which no camera sees anything
_NEARLY_ALL = 0.99  # of the pixels


@dataclass
class StreamDepth:
    """What a step gives for one stream. The arrays are buffers: **the next step overwrites them**.

    Attributes:
        depth: float32 `[h, w]` at the model's size, of the stream's lens, anchored to the key frames and then made
            metres where that was asked for; all NaN where the network failed, and before metres can be told.
        outputs: what the network gave for this stream, by the names of `contract.own_outputs`, without the stream axis;
            the translation of a `pose` is in the unit of `depth` (see `vmdepth_runtime.depth.metres.scale_pose`).
        finite: whether network and states are as they should be.
        moves: bool `[h, w]` of the model's size: what moves by itself; None of a network that does not say, and
            where no notice is taken of it.
        cut: whether a scene begins with the frame, so that the stream started anew with it.
    """

    depth: NDArray[np.float32]
    outputs: StepOutputs
    finite: bool
    moves: NDArray[np.bool_] | None = None
    cut: bool = False


class StreamBatch:
    """The streams of a session.

    Args:
        session: loaded, for B streams; closed by whoever made it.
        resize: one of `contract.RESIZES`.
        keyframes: how the streams are anchored; None switches that off.
        lens: of the cameras, for metres of a network with a `metric_focal`: one for all streams, or one for each; None
            leaves depth as the network gives it, as does a network without one.
        heed_moving: whether notice is taken of what the network says moves; else `StreamDepth.moves` is None.
        cuts: of each stream, whether it starts anew where a scene begins (`vmdepth_runtime.depth.scene_cuts`), with
            the first frame of it: that is known once the frame has been stepped, so it is stepped a second time, from
            initial states; a cut costs one step more. None: of no stream.
        metres: what makes metres of depth without a unit, of all streams or one of each; None leaves it as it is.

    Attributes:
        session: as given.
        contract: that of the session; where depth is made metres its kind says so.
        banks: a `KeyframeBank` per stream, or none.
        metres: as given.
        step_ms: milliseconds of the last step, without resizing.
        broken: steps that were not finite, per stream.
        senseless: likewise those whose depth given `metres` made nearly all the farthest that they allow, or below a
            millimetre.

    Raises:
        InputError: not one key frame fits into the memory that `keyframes` allows.
    """

    def __init__(
        self,
        session: StepSession,
        *,
        resize: Resize = "area",
        keyframes: KeyframeSettings | None = None,
        lens: Lens | Sequence[Lens | None] | None = None,
        heed_moving: bool = True,
        cuts: Sequence[bool] | None = None,
        metres: Metres | Sequence[RunningMetres] | None = None,
    ) -> None:
        self.session = session
        contract = session.contract
        self.contract = contract if metres is None else in_metres(contract)
        self.banks = [KeyframeBank(keyframes, session, k) for k in range(contract.streams)] if keyframes else []
        similarity = contract.keyframes.similarity
        self._detectors = {k: CutDetector(similarity) for k, wanted in enumerate(cuts or ()) if wanted}
        self.step_ms = 0.0
        self.broken, self.senseless = [0] * contract.streams, [0] * contract.streams
        self._resize: Resize = resize
        lenses = [lens] * contract.streams if lens is None or isinstance(lens, Lens) else lens
        self._lenses = lenses if contract.metric_focal is not None else [None] * contract.streams
        self.metres = metres
        depths = np.zeros((contract.streams, contract.height, contract.width), np.float32)
        self._results = [StreamDepth(depth, {}, True) for depth in depths]
        if heed_moving and DYNAMIC in contract.extra_outputs:
            for result in self._results:
                result.moves = np.zeros(depths.shape[1:], bool)

    def step(
        self,
        frames: Sequence[NDArray[np.uint8] | None],
        sizes: Sequence[tuple[int, int] | None] | None = None,
        stamps: Sequence[int | None] | None = None,
    ) -> list[StreamDepth | None]:
        """Go one frame further.

        Args:
            frames: one for each stream, uint8 `[H, W, 3]` RGB of any size; one of the model's size is not resized.
                None leaves a stream as it is.
            sizes: height and width of the frames as the camera gave them, where they were resized before.
            stamps: when the camera took them, nanoseconds since 1970, for `RunningMetres`.

        Returns:
            For each stream its depth, or None where it had no frame.

        Raises:
            WorkError: the back end failed.
            InputError: the lens, or measured depth, does not fit a frame.
        """
        for stream, frame in enumerate(frames):
            if frame is not None:
                resize_frame(frame, self.session.frame[stream], self._resize)
        start = perf_counter()
        outputs = self.session.step([stream for stream, frame in enumerate(frames) if frame is None])
        outputs = self._cut(frames, outputs)
        self.step_ms = (perf_counter() - start) * 1e3
        for stream, result in enumerate(self._results):
            frame = frames[stream]
            if frame is None:
                continue
            result.outputs = {name: array[stream] for name, array in outputs.items()}
            np.copyto(result.depth, result.outputs["depth"])
            scale = 1.0
            lens = self._lenses[stream]
            if lens is not None:
                size = sizes[stream] if sizes is not None else frame.shape[:2]
                assert size is not None
                scale = metric_scale(self.contract, lens, *size)
                result.depth *= np.float32(scale)
            state_change = float(result.outputs["state_change"])
            # A state that is not finite makes the change not finite, so the states need no look of their own; but those
            # of what moves, which the change leaves out, are seen by what it says.
            result.finite = bool(np.isfinite(result.depth.sum(dtype=np.float64)) and np.isfinite(state_change))
            if result.moves is not None:
                dynamic = result.outputs[DYNAMIC]
                result.finite &= bool(np.isfinite(dynamic.sum(dtype=np.float64)))
                np.greater_equal(dynamic, DYNAMIC_THRESHOLD, out=result.moves)
            if not result.finite:
                self._recover(stream, result)
            elif self.banks:
                self.banks[stream].update(result.depth, result.outputs["descriptor"], state_change, result.moves)
                scale *= self.banks[stream].scale
            if self.metres is not None and result.finite:
                stamp = stamps[stream] if stamps is not None else None
                scale *= self._make_metres(stream, result.depth, stamp, sizes[stream] if sizes is not None else None)
            result.outputs = scale_pose(self.session.contract, result.outputs, scale)
        return [None if frame is None else result for frame, result in zip(frames, self._results, strict=True)]

    def restart(self, stream: int) -> None:
        """What comes next has nothing to do with what came before: initial states."""
        if stream in self._detectors:
            self._detectors[stream].restart()
        self._begin(stream)

    def _begin(self, stream: int) -> None:
        if self.banks:
            self.banks[stream].restart()
        else:
            self.session.reset(stream)
        if isinstance(self.metres, Sequence):
            self.metres[stream].restart()

    def _make_metres(
        self, stream: int, depth: NDArray[np.float32], stamp: int | None, size: tuple[int, ...] | None
    ) -> float:
        """Make metres of a stream's depth, in place. Returns the factor of ways in the unit of scaled depth."""
        given = self.metres
        metres = given[stream].at(depth, stamp, size) if isinstance(given, Sequence) else given
        if metres is None:
            depth.fill(np.nan)
            return 1.0
        metres.apply(depth)
        if metres is given:
            far = _AS_FAR * metres.farthest if metres.inverse else np.inf
            sense = np.count_nonzero((depth >= _NO_DISTANCE) & (depth < far))
            self.senseless[stream] += bool(sense <= (1 - _NEARLY_ALL) * depth.size)
        return 1.0 if metres.inverse else metres.scale

    def _cut(self, frames: Sequence[NDArray[np.uint8] | None], outputs: StepOutputs) -> StepOutputs:
        """The outputs of a step; those of streams in which a scene begins, as they are from initial states."""
        for stream, result in enumerate(self._results):
            detector = self._detectors.get(stream)
            result.cut = (
                detector is not None
                and frames[stream] is not None
                and detector.cuts(self.session.frame[stream], outputs["descriptor"][stream])
            )
        cut = [stream for stream, result in enumerate(self._results) if result.cut]
        for stream in cut:
            self._begin(stream)
        if not cut or not self.contract.states:
            return outputs
        joined = {name: array.copy() for name, array in outputs.items()}
        again = self.session.step([stream for stream in range(len(frames)) if stream not in cut])
        for name, array in again.items():
            joined[name][cut] = array[cut]
        return joined

    def _recover(self, stream: int, result: StreamDepth) -> None:
        self.broken[stream] += 1
        result.depth.fill(np.nan)
        if self.banks:
            self.banks[stream].recover()
        else:
            self.session.reset(stream)
