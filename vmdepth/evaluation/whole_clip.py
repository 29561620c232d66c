"""Networks that see the future too: what streaming ones are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.data.rgbd import RgbdFrame
from vmdepth.evaluation.alignment import inverse_of
from vmdepth.evaluation.settings import CLIPS, FRAMES
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.whole_video.view_windows import view_depths
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.errors import InputError

Map = NDArray[np.float32]


@dataclass(frozen=True)
class ClipNetwork:
    """A network without a step that sees all frames of a sequence at once: a bidirectional one, or one of views, for
    which long sequences go in windows (`vmdepth.whole_video.view_windows`). height, width: its input."""

    model: VideoDepth | ViewNetwork
    height: int
    width: int

    def predictor(self, frames: Iterable[RgbdFrame], resize: Resize) -> ClipPredictor:
        """For the pictures of `frames`, to be asked in their order; raises what `predictions` does, at the first."""
        return ClipPredictor(self.predictions(frames, resize), DEPTH_KINDS[self.model.depth_kind])

    def predictions(self, frames: Iterable[RgbdFrame], resize: Resize) -> Iterator[Map]:
        """Inverse depth float32 [H, W] of every frame, at the frame's size; 1/m where the model is metric.

        Raises InputError for more frames than the network takes at once.
        """
        bring_back, kind = DepthResizer(resize), DEPTH_KINDS[self.model.depth_kind]
        shapes: list[tuple[int, ...]] = []

        def prepare(image: NDArray[np.uint8]) -> Map:
            shapes.append(image.shape[:2])
            small = np.empty((self.height, self.width, 3), np.uint8)
            resize_frame(image, small, resize)
            return small.astype(np.float32) / np.float32(255)

        def back(small: Map) -> Map:
            depth = np.empty(shapes[0], np.float32)
            bring_back(small, depth)
            return depth

        images = (frame.image for frame in frames)
        if isinstance(self.model, ViewNetwork):
            said = view_depths(self.model, images, prepare, back)
            return (inverse_of(one["depth"], kind) for one in said)
        return (inverse_of(back(small), kind) for small in _at_once(self.model, map(prepare, images)))


@torch.inference_mode()
def _at_once(model: VideoDepth, inputs: Iterable[Map]) -> Iterator[Map]:
    """What a bidirectional network says of one clip."""
    seen: list[Map] = []
    for image in inputs:
        seen.append(image)
        if model.longest_clip is not None and len(seen) > model.longest_clip:
            raise InputError(
                f"a bidirectional network sees {model.longest_clip} frames at once, and a sequence is longer: evaluate "
                f"it on rendered clips of so many, for example rendered:{CLIPS}x{FRAMES}"
            )
    depths, _ = model(torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)[None])
    yield from depths[0, :, 0].numpy()


class ClipPredictor:
    """What a network said of a whole sequence, asked for one picture after the other. kind: of its depth."""

    def __init__(self, predictions: Iterator[Map], kind: DepthKind) -> None:
        self._predictions = predictions
        self.kind = kind
        self.moves: NDArray[np.bool_] | None = None

    def __call__(self, image: NDArray[np.uint8], intrinsics: NDArray[np.float64] | None = None) -> Map:
        return next(self._predictions)

    def state_rms(self) -> None:
        return None
