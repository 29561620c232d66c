"""Mean and covariance of the queries or keys of a frame, of a window of frames and of the past, packed in one tensor.

Packed moments are float32 [..., d, 1 + d], of vectors of d channels: the mean in column 0, and beside it the
covariance, which is centred: weighted averages of them stay exact however long a video is, while sums of products would
grow and lose what is small. A frame that weighs w among others moves them as Chan, Golub & LeVeque (1979) have it.

What a vector x scores against all of a set of vectors y, in closed form (nothing but products precedes it): the mean
x · mean(y) / √d, the variance xᵀ Cov(y) x / d.
"""

from __future__ import annotations

import torch
from torch import Tensor


def frame_moments(vectors: Tensor) -> Tensor:
    """Of vectors [..., places, d], each with the same weight."""
    vectors = vectors.float()
    mean = vectors.mean(dim=-2, keepdim=True)
    centred = vectors - mean
    covariance = centred.transpose(-2, -1) @ centred / vectors.shape[-2]
    return torch.cat([mean.transpose(-2, -1), covariance], dim=-1)


def averaged(past: Tensor, now: Tensor, share: Tensor) -> Tensor:
    """The moments of the past [B, heads, d, 1 + d] once a frame has a share [B] of them, 0..1."""
    share = share[:, None, None, None]
    apart = (now - past)[..., :1]
    moved = past + share * (now - past)
    return moved + _in_covariance(share * (1 - share) * apart * apart.transpose(-2, -1))


def windowed(ring: Tensor, now: Tensor, seen: Tensor) -> Tensor:
    """The moments of a frame and of those slots of a ring [B, heads, slots, d, 1 + d] that are seen, 1 or 0 [B, slots]:
    each frame with the same weight."""
    seen = seen[:, None, :, None, None]
    count = seen.sum(dim=2) + 1
    mean = ((ring * seen).sum(dim=2) + now) / count
    apart, own_apart = ring[..., :1] - mean[:, :, None, :, :1], (now - mean)[..., :1]
    between = (apart @ (seen * apart).transpose(-2, -1)).sum(dim=2) + own_apart @ own_apart.transpose(-2, -1)
    return mean + _in_covariance(between / count)


def mean_scores(vectors: Tensor, moments: Tensor) -> Tensor:
    """Mean of what vectors [B, heads, places, d] score, averaged over heads: [B, places]."""
    return (vectors.float() @ moments[..., :1]).squeeze(-1).mean(dim=1) / vectors.shape[-1] ** 0.5


def score_variances(vectors: Tensor, moments: Tensor, count: Tensor) -> Tensor:
    """Likewise the variance; count: how many vectors [B] the moments are of, one less than which it is divided by."""
    vectors = vectors.float()
    found = ((vectors @ moments[..., 1:]) * vectors).sum(dim=-1).mean(dim=1) / vectors.shape[-1]
    return found * (count / (count - 1))[:, None]


def _in_covariance(x: Tensor) -> Tensor:
    """[..., d, d] as packed moments whose mean is 0."""
    return torch.cat([torch.zeros_like(x[..., :1]), x], dim=-1)
