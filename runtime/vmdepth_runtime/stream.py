"""The Python face: hand in frames, get depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime import bundled
from vmdepth_runtime.contract import Resize, StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.loading import load_session

MIN_SIDE = 14  # pixels; a frame smaller than one patch of the encoder has nothing to see


@dataclass(frozen=True)
class DepthResult:
    """One frame's depth. The arrays are views onto the stream's buffers: **the next frame overwrites them**, so copy
    what you keep.

    depth: float32 `[H, W]`, at the frame's own size. model_depth: float32 `[h, w]`, as the model gave it. Both are
    relative inverse depth (larger is nearer) unless the model is metric (metres, larger is farther);
    `stream.contract.depth_kind` says. descriptor: float32 `[D]`, unit length. state_change: ≥ 0, how much the states
    moved, relative to their size. step_ms: milliseconds that the network took, without resizing.
    """

    depth: NDArray[np.float32]
    model_depth: NDArray[np.float32]
    descriptor: NDArray[np.float32]
    state_change: float
    step_ms: float


class DepthStream:
    """Depth for one stream of frames, which remembers what it has seen.

    ```python
    with DepthStream("model.onnx") as stream:
        for frame in frames:
            depth = stream(frame).depth
    ```

    model: a step graph or an engine, made with `vmdepth-export`; None takes the bundled one. threads: for one step;
    None takes all cores. resize: one of `vmdepth_runtime.contract.RESIZES`. Raises InputError when the model is
    missing, breaks the contract or was made for several streams.

    A frame of another size than the one before starts a new stream: the states go back to zero.
    """

    def __init__(self, model: str | Path | None = None, *, threads: int | None = None, resize: Resize = "area") -> None:
        path = bundled.MODEL if model is None else Path(model)
        self._session = load_session(path, threads)
        if self.contract.streams != 1:
            streams = self.contract.streams
            self.close()
            raise InputError(
                f"{path}: made for {streams} streams at once, this runs one; export it again with '--streams 1'"
            )
        self._resize: Resize = resize
        self._bring_back = DepthResizer(resize)
        self._size: tuple[int, int] | None = None
        self._depth = np.empty((0, 0), np.float32)

    @property
    def contract(self) -> StepContract:
        """What the model says about itself."""
        return self._session.contract

    @property
    def model(self) -> Path:
        """The model's file."""
        return self._session.path

    def __call__(self, frame: NDArray[np.uint8]) -> DepthResult:
        """Depth of the next frame.

        frame: uint8 `[H, W, 3]` RGB, at least 14 pixels each way. Raises ValueError on anything else.
        """
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is uint8 [H, W, 3] RGB, not {frame.dtype} {list(frame.shape)}")
        height, width = frame.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise ValueError(f"a frame has at least {MIN_SIDE}x{MIN_SIDE} pixels, not {width}x{height}")
        if (height, width) != self._size:
            self._size = (height, width)
            self._depth = np.empty((height, width), np.float32)
            self._session.reset()
        resize_frame(frame, self._session.frame[0], self._resize)
        start = perf_counter()
        output = self._session.step()
        step_ms = (perf_counter() - start) * 1e3
        model_depth = output.depth[0]
        self._bring_back(model_depth, self._depth)
        return DepthResult(self._depth, model_depth, output.descriptor[0], float(output.state_change[0]), step_ms)

    def reset(self) -> None:
        """Start a new stream: the states go back to zero."""
        self._session.reset()

    def close(self) -> None:
        """Let go of the model."""
        self._session.close()

    def __enter__(self) -> DepthStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DepthResizer:
    """Depth float32 [h, w] of a model → [H, W] of its frames, bilinear, into the array that is given.

    resize: how the frames came to the model's size. Depth goes back along the same centres of pixels; after "cubic" it
    goes corner on corner, as Depth Anything brings its depth back.
    """

    def __init__(self, resize: Resize) -> None:
        self._resize = resize
        self._maps: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def __call__(self, depth: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        (height, width), (low_height, low_width) = out.shape, depth.shape
        if self._resize != "cubic":
            cv2.resize(depth, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
            return
        if self._maps is None or self._maps[0].shape != out.shape:
            across, down = np.linspace(0, low_width - 1, width), np.linspace(0, low_height - 1, height)
            self._maps = tuple(m.astype(np.float32) for m in np.meshgrid(across, down))  # type: ignore[assignment]  # two
        assert self._maps is not None
        cv2.remap(depth, *self._maps, interpolation=cv2.INTER_LINEAR, dst=out)


def resize_frame(frame: NDArray[np.uint8], out: NDArray[np.uint8], resize: Resize) -> None:
    """A frame uint8 [H, W, 3] into `out`, a session's input buffer [h, w, 3], each axis on its own.

    That is the contract's "stretch".
    """
    if resize == "cubic":
        interpolation = cv2.INTER_CUBIC
    else:
        shrinks = frame.shape[0] >= out.shape[0] and frame.shape[1] >= out.shape[1]
        # Area averages away what a smaller picture cannot show; growing, it would repeat pixels.
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.resize(frame, out.shape[1::-1], dst=out, interpolation=interpolation)
