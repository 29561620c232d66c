"""What remembering keys and values saves: a causal network of views against running it anew on all that a step sees."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.sessions.base import StepOutputs, StepSession


class AnewSession(StepSession):
    """The any-view network on the first frame, the `window` − 1 before this one and this one, in every step.

    Nothing is remembered but the frames, and every frame sees all: what streaming takes with the official code, whose
    numbers this gives. From the first step on there are `window` + 1 frames, copies at first, as in rings.
    """

    backend = "torch"

    def __init__(self, model: CausalViews, contract: StepContract) -> None:
        self.model, self.contract, self.path = model, contract, Path(model.name)
        self.frame = np.zeros((contract.streams, contract.height, contract.width, 3), np.uint8)
        self._first: torch.Tensor | None = None
        self._recent: deque[torch.Tensor] = deque(maxlen=model.window)

    @torch.inference_mode()
    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        frame = torch.from_numpy(self.frame).permute(0, 3, 1, 2) / 255
        if self._first is None:
            self._first = frame
            self._recent.extend([frame] * self.model.window)
        self._recent.append(frame)
        views = self.model.whole(torch.stack([self._first, *self._recent], dim=1))
        return {"depth": views.depth[:, -1].numpy()}

    def close(self) -> None:
        return
