"""What queries and keys score against those of other frames, in closed form: no matrix of scores is ever made whole.

A score is a plain product x_i · y_j, of patch i of frame t with patch j of frame s, without softmax. What precedes the
statistics is linear, so sums over the keys say all there is (VGGT4D, arXiv 2511.19971, in two readings):

    window    With u_i the vectors x_i of all layers and heads in one row, and m_j those of y_j averaged over the frames
              that are met, n = layers · heads: the mean over j is u_i · mean(m) / n, the standard deviation over j that
              of the row u_i · (m_j − mean(m)) / n. One product of places × places, centred first.
    per head  Of every head alone, over the keys of all frames that are met: mean x_i · mean(y) / √d, variance
              x_iᵀ Cov(y) x_i / d; both are averaged over heads and layers. Mean and covariance are `Moments`: sums,
              so those of a window, of the past and of a whole video are the same sums over fewer or more frames.

Deviations and variances divide by one less than there are values, as torch does by itself. Vectors are centred before
they are squared: with a common component of 30 deviations float32 keeps 3e-7 then, and 2e-2 as E[y²] − E[y]². Products
within a frame are those of the vectors' own precision; sums over frames are float64, and merged so that what is added
is never a difference of large numbers (Chan, Golub & LeVeque 1979): 10,000 frames lose nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from vmdepth.dynamics.first_pass import Kind, Reach, Sums

WINDOW_OFFSETS = (-6, -4, -2, 2, 4, 6)
NEAR_OFFSETS = (-2, -1, 0, 1, 2)


def frames_met(reach: Reach, frame: int, frames: int) -> list[int]:
    """Which of so many frames a frame meets, in their order; window statistics never meet the frame itself."""
    if reach == "all":
        return list(range(frames))
    if reach == "past":
        return list(range(frame + 1))
    offsets = WINDOW_OFFSETS if reach == "window" else NEAR_OFFSETS
    return [other for other in (frame + offset for offset in offsets) if 0 <= other < frames]


@dataclass(frozen=True)
class Moments:
    """Sums over vectors of d channels: those of two sets, added, are those of both.

    Attributes:
        count: how many vectors.
        mean: of them, float64 [..., d].
        scatter: sum of (y − mean)(y − mean)ᵀ, float64 [..., d, d].
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Moments:
        """Of vectors [..., places, d], for every leading index alone."""
        vectors = at_least_float32(vectors)
        mean = vectors.mean(dim=-2, dtype=torch.float64)
        centred = vectors - mean.to(vectors.dtype)[..., None, :]
        return cls(vectors.shape[-2], mean, (centred.transpose(-2, -1) @ centred).double())

    @classmethod
    def of_sums(cls, sums: Sums) -> Moments:
        """Of arrays, as a first pass has them; on the CPU."""
        return cls(sums.count, torch.from_numpy(sums.mean), torch.from_numpy(sums.scatter))

    @classmethod
    def sum(cls, parts: Sequence[Moments]) -> Moments:
        """Of all of them together; at least one."""
        return reduce(add, parts)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        apart = other.mean - self.mean
        between = apart[..., :, None] * apart[..., None, :] * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), self.scatter + other.scatter + between)

    def arrays(self) -> Sums:
        """The inverse of `of_sums`."""
        return Sums(self.count, self.mean.cpu().numpy(), self.scatter.cpu().numpy())

    def scores(self, kind: Kind, vectors: Tensor) -> Tensor:
        """Mean of the scores of vectors [..., places, d] over √d, or their variance over d: [..., places]."""
        vectors = at_least_float32(vectors)
        channels = vectors.shape[-1]
        if kind == "similarity":
            return (vectors @ self.mean.to(vectors.dtype)[..., None])[..., 0] / channels**0.5
        spread = (self.scatter / max(self.count - 1, 1)).to(vectors.dtype)
        return ((vectors @ spread) * vectors).sum(-1) / channels


def per_head_scores(kind: Kind, vectors: Tensor, met: Moments) -> Tensor:
    """Vectors [heads, places, d] against the moments of each head: the mean over heads, [places]."""
    return met.scores(kind, vectors).mean(dim=0)


def window_similarity(vectors: Tensor, averaged: Tensor) -> Tensor:
    """Vectors [heads, places, d] against those averaged over the frames that are met, of one layer: the sum over heads
    of the mean over places, [places]."""
    mean = averaged.mean(dim=-2, dtype=torch.float64).to(vectors.dtype)
    return (vectors @ mean[..., None]).sum(dim=(0, 2))


def window_products(vectors: Tensor, averaged: Tensor) -> Tensor:
    """Arguments as of `window_similarity` → sums over heads of the centred products, [places, places]."""
    mean = averaged.mean(dim=-2, keepdim=True, dtype=torch.float64).to(vectors.dtype)
    return _one_row(vectors) @ _one_row(averaged - mean).T


def deviation(products: Tensor, count: int) -> Tensor:
    """Standard deviation [places] over the columns of centred products, which are sums of so many layers · heads."""
    return (products.square().sum(dim=1) / max(products.shape[1] - 1, 1)).sqrt() / count


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision as float32; anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _one_row(vectors: Tensor) -> Tensor:
    """[heads, places, d] → [places, heads · d]."""
    return vectors.transpose(0, 1).flatten(1)
