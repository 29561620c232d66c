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
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class ClipNetwork:
    """A bidirectional network. It has no step, and sees all frames of a sequence at once. height, width: its input."""

    model: VideoDepth
    height: int
    width: int

    def predictor(self, frames: Iterable[RgbdFrame], resize: Resize) -> ClipPredictor:
        """For the pictures of `frames`, to be asked in their order; raises what `predictions` does, at the first."""
        return ClipPredictor(self.predictions(frames, resize))

    @torch.inference_mode()
    def predictions(self, frames: Iterable[RgbdFrame], resize: Resize) -> Iterator[NDArray[np.float32]]:
        """Inverse depth float32 [H, W] of every frame, at the frame's size; 1/m where the model is metric.

        Raises InputError for more frames than the network takes at once.
        """
        images, longest = [], self.model.longest_clip
        for frame in frames:
            image = np.empty((self.height, self.width, 3), np.uint8)
            resize_frame(frame.image, image, resize)
            images.append(image)
            shape = frame.image.shape[:2]
            if longest is not None and len(images) > longest:
                raise InputError(
                    f"a bidirectional network sees {longest} frames at once, and a sequence is longer: evaluate it on "
                    f"rendered clips of so many, for example rendered:{CLIPS}x{FRAMES}"
                )
        clip = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)[None].float() / 255
        depths, _ = self.model(clip)
        bring_back = DepthResizer(resize)
        for small in depths[0, :, 0].numpy():
            depth = np.empty(shape, np.float32)
            bring_back(small, depth)
            yield inverse_of(depth, self.model.config.depth)


class ClipPredictor:
    """What a network said of a whole sequence, asked for one picture after the other."""

    def __init__(self, predictions: Iterator[NDArray[np.float32]]) -> None:
        self._predictions = predictions

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return next(self._predictions)

    def state_rms(self) -> None:
        return None
