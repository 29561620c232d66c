"""What training minimises on one piece of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from vmdepth.data.clips import TrainingClips
from vmdepth.losses.affine import affine_invariant_loss, affine_normalise, metric_loss, relative_weight
from vmdepth.losses.gradient import multi_scale_gradient_loss
from vmdepth.losses.states import state_smoothness_loss
from vmdepth.losses.temporal import temporal_gradient_loss
from vmdepth.training.settings.train_settings import TrainSettings

NAMES = ("depth", "metric", "gradient", "temporal", "smoothness")


def losses(
    settings: TrainSettings, depth: Tensor, clips: TrainingClips, summaries: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The weighted sum, a scalar, and every term of it, [5], as `NAMES` has them, unweighted and without gradient.

    depth: the student's inverse depth, [B, N, 1, H, W]. clips: the truth, or what a teacher said. summaries: of the
    student's states after every frame, as `VideoDepth.forward` hands them to its watch.
    """
    truth, mask = clips.inverse_depth, clips.known
    metric = clips.metric.view(-1, 1, 1, 1, 1)
    # Only inverse depth in 1/m is known to be 0 at the horizon, which a relative error needs.
    weight = 1 + torch.where(metric, relative_weight(truth, mask), 0)
    normalised, true = (affine_normalise(values, mask, settings.fit) for values in (depth, truth))
    terms = [
        affine_invariant_loss(normalised, true, mask, weight),
        metric_loss(depth, truth, mask & metric),
        multi_scale_gradient_loss(normalised, true, mask),
        temporal_gradient_loss(normalised, true, mask),
        depth.new_zeros(()) if clips.still is None else state_smoothness_loss(summaries, clips.still),
    ]
    weights = (
        1.0,
        settings.metric_weight,
        settings.gradient_weight,
        settings.temporal_weight,
        settings.smoothness_weight,
    )
    total = torch.stack([weight * term for weight, term in zip(weights, terms, strict=True) if weight]).sum()
    return total, torch.stack(terms).detach()
