"""The Python face: hand in frames, get depth."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime import bundled
from vmdepth_runtime.camera.lens import Intrinsics, Lens
from vmdepth_runtime.contract import Resize, StepContract
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.depth.metres import assumption, metric_scale, needed_lens, scale_pose
from vmdepth_runtime.depth.picture_input import Order, Picture, as_frame, is_several
from vmdepth_runtime.depth.prediction import Prediction
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.depth.scale.metres import Metres, MetresGiven, check_metres, in_metres
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sessions.base import StepOutputs
from vmdepth_runtime.sessions.given_model import open_model
from vmdepth_runtime.sessions.state_buffers import Snapshot
from vmdepth_runtime.sources.base import MIN_SIDE

_MAPS = ("depth", "confidence", "sky", DYNAMIC)  # outputs that have a value for each pixel


@dataclass(frozen=True)
class DepthResult:
    """One frame's depth. The arrays are views onto the stream's buffers: **the next frame overwrites them**, so copy
    what you keep.

    What depth means, whether larger is nearer and its unit, `stream.contract.depth_meaning` says.

    Attributes:
        depth: float32 `[H, W]`, at the frame's own size.
        model_depth: float32 `[h, w]`, at the model's size; of the stream's lens, and anchored to the key frames.
        outputs: all that the network gave for the frame, by the names of `contract.own_outputs`, without the stream
            axis, as it gave it; but the translation of a `pose` is in the unit of `depth`, metres and key frames
            included.
        finite: False where the network failed on this frame; depth is NaN then, and the stream goes on from a key
            frame.
        step_ms: milliseconds that the network took, without resizing.
        cut: whether a scene begins with the frame, so that the stream started anew with it; False of a stream that
            does not look for cuts.
    """

    depth: NDArray[np.float32]
    model_depth: NDArray[np.float32]
    outputs: StepOutputs
    finite: bool
    step_ms: float
    cut: bool
    _bring_back: Callable[[NDArray[np.float32], NDArray[np.float32]], None] = field(repr=False)

    @property
    def confidence(self) -> NDArray[np.float32] | None:
        """float32 `[H, W]`, ≥ 1: how sure the network is of every pixel, a new array; None of one that does not say."""
        return self._at_frame_size("confidence")

    @property
    def sky(self) -> NDArray[np.float32] | None:
        """float32 `[H, W]`, ≥ 0: from 0.3 on a pixel is sky, a new array; None of a network that does not say."""
        return self._at_frame_size("sky")

    @property
    def dynamic(self) -> NDArray[np.float32] | None:
        """float32 `[H, W]`, 0..1: from 0.5 on a pixel moves by itself, a new array; None of a network that does not
        say."""
        return self._at_frame_size(DYNAMIC)

    @property
    def pose(self) -> NDArray[np.float32] | None:
        """float32 `[9]`, the camera to the world: translation in the unit of `depth`, quaternion x y z w, field of
        view in radians, the height's first; None of a network that does not say."""
        return self.outputs.get("pose")

    @property
    def descriptor(self) -> NDArray[np.float32]:
        """float32 `[D]`, unit length: what the frame looks like as a whole."""
        return self.outputs["descriptor"]

    @property
    def state_change(self) -> float:
        """How far the frame moved the states, relative to their size, ≥ 0."""
        return float(self.outputs["state_change"])

    def _at_frame_size(self, name: str) -> NDArray[np.float32] | None:
        given = self.outputs.get(name)
        if given is None:
            return None
        brought_back = np.empty_like(self.depth)
        self._bring_back(given, brought_back)
        return brought_back


class DepthStream:
    """Depth for one stream of frames, which remembers what it has seen.

    ```python
    from vmdepth_runtime import DepthStream, open_source

    with DepthStream() as stream, open_source("demo") as source:
        for frame in source:
            result = stream(frame.image)
            print(frame.time, result.depth.mean(), result.state_change)
    ```

    A frame of another size than the one before starts the stream anew: every state back to its initial value.

    Args:
        model: a step graph or an engine, made with `vmdepth-export`, or a checkpoint, of which a step graph is made
            once and kept; or the name of one, as "depth-anything/DA3-SMALL"; None takes the bundled one.
        input_size: height and width that frames are brought to, pixels; None is the model's own.
        threads: for one step on the CPU; None takes all cores.
        device: "cpu", "cuda" or "cuda:N", of a step graph also "tensorrt[:N]"; None takes the first GPU where it can.
        resize: one of `vmdepth_runtime.contract.RESIZES`.
        spin: let the threads of a step on the CPU keep their cores busy while they wait for the next one. Steps are
            faster on cores that nothing else uses, and much slower on cores that are shared, a decoder's included.
        keyframes: how the stream is anchored; True is as the model says, False not at all.
        fov: degrees that frames are wide, for metres of a model that needs the focal length (`contract.metric_focal`).
            Where neither this nor `intrinsics` is given a warning says what is assumed.
        intrinsics: fx, fy, cx, cy in pixels of the frames, or a calibration file, in place of `fov`.
        dynamic_mask: whether the model has to tell what moves (`DepthResult.dynamic`); of a checkpoint a step graph is
            made that does.
        cuts: whether the stream starts anew where a scene begins, as in films: with the first frame of it, which costs
            one step more (`vmdepth_runtime.depth.scene_cuts`). Key frames stay.
        metres: what makes metres of a model's relative or scaled depth, as `vmdepth-calibrate scale` tells it: scale
            and shift, or scale alone.

    Raises:
        InputError: the model is missing, breaks the contract, was made for several streams, or does not tell what moves
            where it has to; a camera or metres that cannot be meant, or that the model has no use for.
    """

    def __init__(  # noqa: PLR0913 (all but the model by name)
        self,
        model: str | Path | None = None,
        *,
        input_size: tuple[int, int] | None = None,
        threads: int | None = None,
        device: str | None = None,
        resize: Resize = "area",
        spin: bool = False,
        keyframes: KeyframeSettings | bool = True,
        fov: float | None = None,
        intrinsics: Intrinsics | None = None,
        dynamic_mask: bool = False,
        cuts: bool = False,
        metres: MetresGiven | None = None,
    ) -> None:
        lens, self._metres = Lens.of(fov, intrinsics), Metres.of(metres)
        path = bundled.MODEL if model is None else Path(model)
        self._session = open_model(
            path, input_size, threads=threads, device=device, spin=spin, dynamic_mask=dynamic_mask
        )
        contract = self._session.contract
        try:
            _check_model(contract, path, lens, self._metres)
        except InputError:
            self.close()
            raise
        if keyframes is True:
            keyframes = KeyframeSettings.of(contract.keyframes)
        self._lens = lens
        needed = needed_lens(contract, lens)
        self._batch = StreamBatch(
            self._session, resize=resize, keyframes=keyframes or None, lens=needed, cuts=[cuts], metres=self._metres
        )
        self._resize: Resize = resize
        self._bring_back = DepthResizer(resize)
        self._aside: Snapshot | None = None
        self._warned = False
        self._size: tuple[int, int] | None = None
        self._depth = np.empty((0, 0), np.float32)

    @property
    def contract(self) -> StepContract:
        """What the model says about itself; with `metres`, that its depth is metric."""
        return self._batch.contract

    @property
    def model(self) -> Path:
        """The model's file."""
        return self._session.path

    def __call__(self, frame: NDArray[np.uint8]) -> DepthResult:
        """Depth of the next frame.

        Args:
            frame: uint8 `[H, W, 3]` RGB, at least 14 pixels each way.

        Returns:
            Its depth and what else the network gave, in buffers that the next call overwrites.

        Raises:
            InputError: the intrinsics do not fit the frame.
            TypeError: the frame is no array.
            ValueError: it is another array.
        """
        _check_frame(frame)
        height, width = frame.shape[:2]
        if (height, width) != self._size:
            if self._size is not None:
                self._batch.restart(0)
            self._warn_of_assumption(self._lens)
            self._size = (height, width)
            self._depth = np.empty((height, width), np.float32)
        (result,) = self._batch.step([frame])
        assert result is not None
        self._bring_back(result.depth, self._depth)
        step_ms = self._batch.step_ms
        return DepthResult(
            self._depth, result.depth, result.outputs, result.finite, step_ms, result.cut, self._bring_back
        )

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path that is a str can be gone over, too
        self,
        pictures: Picture,
        *,
        order: Order = "rgb",
        fov: float | None = None,
        intrinsics: Intrinsics | None = None,
        metres: MetresGiven | None = None,
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        pictures: Iterable[Picture],
        *,
        order: Order = "rgb",
        fov: float | None = None,
        intrinsics: Intrinsics | None = None,
        metres: MetresGiven | None = None,
    ) -> list[Prediction]: ...
    def predict(
        self,
        pictures: Picture | Iterable[Picture],
        *,
        order: Order = "rgb",
        fov: float | None = None,
        intrinsics: Intrinsics | None = None,
        metres: MetresGiven | None = None,
    ) -> Prediction | list[Prediction]:
        """Depth of a picture, or of several that have nothing to do with each other.

        Each starts from initial states, and the stream does not remember it: its next frame goes on from the one
        before. `outputs` of the latest `DepthResult` are overwritten, as by a frame.

        Arguments, result and errors are those of `vmdepth_runtime.predict`; a camera, or metres, that are not given are
        the stream's.
        """
        lens, own = Lens.of(fov, intrinsics) or self._lens, Metres.of(metres) or self._metres
        check_metres(own, self._session.contract, self.model)
        self._warn_of_assumption(lens)
        if is_several(pictures):
            return [self._predict(picture, order, lens, own) for picture in cast("Iterable[Picture]", pictures)]
        return self._predict(cast("Picture", pictures), order, lens, own)

    def _predict(self, picture: Picture, order: Order, lens: Lens | None, metres: Metres | None) -> Prediction:
        frame = as_frame(picture, order)
        _check_frame(frame)
        height, width = frame.shape[:2]
        camera = None if lens is None else lens.camera(width, height)
        resize_frame(frame, self._session.frame[0], self._resize)
        self._aside = self._aside or self._session.snapshot()
        self._session.save(0, self._aside)
        self._session.reset(0)
        outputs, contract = self._session.step(), self._session.contract
        self._session.restore(0, self._aside)
        own, needed = {name: array[0] for name, array in outputs.items()}, needed_lens(contract, lens)
        if metres is not None:
            own["depth"], contract = own["depth"].copy(), in_metres(contract)
            metres.apply(own["depth"])
            if not metres.inverse:
                own = scale_pose(contract, own, metres.scale)
        maps = {name: np.empty((height, width), np.float32) for name in _MAPS if name in outputs}
        bring_back = DepthResizer(self._resize)
        for name, brought_back in maps.items():
            bring_back(own[name], brought_back)
        depth = maps.pop("depth")
        if needed is not None:
            scale = metric_scale(contract, needed, height, width)
            depth *= np.float32(scale)
            own = scale_pose(contract, own, scale)
        if not np.isfinite(depth.sum(dtype=np.float64)):
            depth.fill(np.nan)
        pose = own["pose"].copy() if "pose" in own else None
        bent = None if lens is None else lens.distortion
        return Prediction(depth, frame, contract.depth_kind, camera, pose=pose, distortion=bent, **maps)

    def _warn_of_assumption(self, lens: Lens | None) -> None:
        """Once, where metres need a lens that nobody gave."""
        if lens is None and self.contract.metric_focal is not None and not self._warned:
            warnings.warn(assumption(self.contract), stacklevel=3)
            self._warned = True

    def reset(self) -> None:
        """Start anew: every state back to its initial value. Key frames stay."""
        self._batch.restart(0)

    def close(self) -> None:
        """Let go of the model."""
        self._session.close()

    def __enter__(self) -> DepthStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_model(contract: StepContract, path: Path, lens: Lens | None, metres: Metres | None) -> None:
    if contract.streams != 1:
        raise InputError(
            f"{path}: made for {contract.streams} streams at once, this runs one; export it again with '--streams 1'"
        )
    if lens is not None and contract.metric_focal is None:
        raise InputError(f"{lens.given}: {path} needs no camera for its depth; give it to predict() or points()")
    check_metres(metres, contract, path)


def _check_frame(frame: Any) -> None:
    if not isinstance(frame, np.ndarray):
        way_out = "; predict() takes paths and images, open_source() videos" if not hasattr(frame, "__array__") else ""
        raise TypeError(f"a frame is a NumPy array, uint8 [H, W, 3] RGB, not {type(frame).__name__}{way_out}")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"a frame is uint8 [H, W, 3] RGB, not {frame.dtype} {list(frame.shape)}")
    height, width = frame.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"a frame has at least {MIN_SIDE}x{MIN_SIDE} pixels, not {width}x{height}")
