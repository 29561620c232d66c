"""How right the model is on rendered clips that training never sees, looked at while it goes on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vmdepth.data.clips import TrainingClips, from_rendered
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.evaluation.accuracy import Accuracy, accuracy, mean_accuracy
from vmdepth.training.students import Student, inverse_depth

CLIPS, FRAMES = 16, 8
"""How much is looked at: seconds on a CPU, at the usual sizes. The worlds are the first of `vmdepth-eval`'s."""


class Validation:
    """The clips, rendered once, at the first look; they stay in memory.

    height, width: of the clips, pixels. device: of the network.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        self._size, self._device = (height, width), device
        self._clips: list[TrainingClips] = []

    @torch.no_grad()
    def __call__(self, model: Student, weights: Mapping[str, Tensor]) -> Accuracy:
        """The network with other weights than its own, which stay as they are: the mean over clips, each after one fit
        of scale and shift, as of `vmdepth-eval`."""
        if not self._clips:
            rendered = render_clips(range(CLIPS), FRAMES, *self._size, device=self._device)
            self._clips = from_rendered(rendered, range(CLIPS)).split()
        model.eval()
        found = []
        for clip in self._clips:  # one after the other: memory is for training
            said, _ = torch.func.functional_call(model, dict(weights), (clip.rgb,))
            guess, true = inverse_depth(said)[0, :, 0].cpu().numpy(), (1 / clip.inverse_depth[0, :, 0]).cpu().numpy()
            found.append(accuracy(list(guess), list(true)))
        model.train()
        return mean_accuracy(found)
