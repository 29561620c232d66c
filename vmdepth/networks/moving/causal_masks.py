"""What moves, frame by frame: a patch whose queries and keys score like no other against those of the frames before.

VGGT4D (arXiv 2511.19971) finds moving things in a whole clip: it looks six frames ahead, clusters the patches of all
frames and sets one threshold over all of them. Where the next frame is not there yet that cannot be; this is an
algorithm of its own, made of the same five statistics:

1. Moments of the queries and keys of every frame are averaged over the frames that count as the past, the frame itself
   among them: the window that the network remembers anyway, each frame with the same weight, or all frames, the weight
   of which fades by a factor with every frame that follows. Every map is a mean or variance of scores against those, of
   every head alone, averaged over heads and the blocks of a band:
   S^KK and V^QK of the shallow, S^QQ of the middle, S^QQ and V^QQ of the deep band.
2. Running normalisation: of every map the mean μ and variance σ² over places fade in the same way. z = (x − μ) / σ
   becomes the share of all places of the video so far that lie below, were they normally distributed: Φ(z).
3. As in the released fusion, the product p = (1 − S^KK) · V^QK · (1 − S^QQ) · S^QQ · (1 − V^QQ), each factor such a
   share.
4. Running threshold: τ is what lies four standard deviations above the mean of p, both of which fade in the same way,
   but never below 0.1 nor above 0.5, and p / (p + τ) is how much a patch moves: 0.5 at the threshold. 0.5 takes five
   shares of 0.87, which says enough by itself; how far maps of a network contradict each other by their nature, the
   running threshold learns. Where all p are small nothing moves, so what stands still can come out empty; of places
   whose maps have nothing to do with each other about 1 in 100 reaches it.
5. The first frames, which have next to no past, give 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.moving.bands import Bands
from vmdepth.networks.moving.moments import averaged, frame_moments, mean_scores, score_variances, windowed
from vmdepth_runtime.contract import DYNAMIC_STATES

FORGETTING = 0.97
"""What is left of a frame's weight with every frame that follows: half after 23."""
FIRST_FRAMES = 3
"""So many frames at the beginning give 0."""

MAPS = ("similarity_kk", "variance_qk", "similarity_qq", "deep_similarity_qq", "deep_variance_qq")
_SIGNS = (-1.0, 1.0, -1.0, 1.0, -1.0)  # whether low or high values of each speak for motion
_NORMAL = 1.702  # Φ(z) is within 0.01 of the logistic function of so many z (Bowling et al. 2009)
_FLAT = 1e-6  # of the square of its mean: a map whose variance is not above it is flat, and its rest rounding
_ABOVE, _LEAST, _MOST = 4.0, 0.1, 0.5  # the threshold: deviations above the mean, and its limits
_WEIGHT, _NORMALS, _PRODUCT = (f"{DYNAMIC_STATES}{name}" for name in ("weight", "maps", "product"))


class CausalMasks(nn.Module):
    """Queries and keys of one frame, and what is left of those before → how much each patch moves.

    States, float32: `dynamic.weight` [B], of all frames so far; `dynamic.maps` [B, 5, 2], mean and variance of each of
    `MAPS`; `dynamic.product` [B, 2], those of the product; `dynamic.keys_<i>` and `dynamic.queries_<i>` of the watched
    blocks, packed moments (see `moments`) [B, heads, d, 1 + d], or rings of them with the slots after the heads.

    bands: the blocks. heads, channels: of each of them. slots: of the rings; None where moments fade. forgetting: the
    factor by which they and the normalisation do, up to 1, which forgets nothing. Raises ValueError for one that is
    above that, or below 0.01, by which float32 could not count the first frames.
    """

    def __init__(
        self, bands: Bands, heads: int, channels: int, slots: int | None = None, forgetting: float = FORGETTING
    ) -> None:
        super().__init__()
        if not 0.01 <= forgetting <= 1:
            raise ValueError(f"forgetting {forgetting:g}: is what is left of a frame with the next one, 0.01 to 1")
        self.bands, self.heads, self.channels, self.slots, self.forgetting = bands, heads, channels, slots, forgetting
        self.signs: Tensor
        self.register_buffer("signs", torch.tensor(_SIGNS)[:, None], persistent=False)

    @property
    def moments(self) -> list[str]:
        """Names of the states that are moments."""
        return [_keys(i) for i in self.bands.shallow] + [_queries(i) for i in self.bands.of_queries]

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Shapes by name, in the order of the step graph."""
        slots = () if self.slots is None else (self.slots,)
        moments = (batch, self.heads, *slots, self.channels, 1 + self.channels)
        normals = {_NORMALS: (batch, len(MAPS), 2), _PRODUCT: (batch, 2)}
        return {_WEIGHT: (batch,), **normals, **dict.fromkeys(self.moments, moments)}

    def forward(
        self,
        queries: dict[int, Tensor],
        keys: dict[int, Tensor],
        states: StateTensors,
        counter: Tensor | None = None,
    ) -> tuple[Tensor, StateTensors]:
        """How much each patch moves.

        Args:
            queries: by block, [B, heads, patches, d], without special tokens.
            keys: likewise.
            states: as `state_shapes` names them; others are not looked at.
            counter: number of the frame [B], as the network with the rings counts.

        Returns:
            0..1, [B, patches]; and the states after the frame, of rings the new entries.
        """
        weight = 1 + self.forgetting * states[_WEIGHT]
        share = 1 / weight
        after = {_WEIGHT: weight}
        met: StateTensors = {}
        vectors = {_keys(i): keys[i] for i in self.bands.shallow} | {
            _queries(i): queries[i] for i in self.bands.of_queries
        }
        if counter is not None and self.slots is not None:
            seen = (torch.arange(self.slots, device=counter.device) < counter[:, None]).float()
            frames = seen.sum(dim=1) + 1
            for name, vector in vectors.items():
                after[name] = frame_moments(vector)
                met[name] = windowed(states[name], after[name], seen)
        else:
            frames = weight
            for name, vector in vectors.items():
                after[name] = met[name] = averaged(states[name], frame_moments(vector), share)
        maps = self.maps(queries, keys, met, frames)
        shares, after[_NORMALS] = self._shares(maps, states[_NORMALS], share)
        product = shares.prod(dim=1)
        after[_PRODUCT] = faded(states[_PRODUCT], product, share)
        mean, variance = after[_PRODUCT].unbind(dim=-1)
        threshold = (mean + _ABOVE * variance.sqrt()).clamp(_LEAST, _MOST)[:, None]
        started = weight > sum(self.forgetting**i for i in range(FIRST_FRAMES)) + 0.5 * self.forgetting**FIRST_FRAMES
        return product / (product + threshold) * started[:, None], after

    def maps(self, queries: dict[int, Tensor], keys: dict[int, Tensor], met: StateTensors, frames: Tensor) -> Tensor:
        """The five `MAPS` [B, 5, patches], not normalised. met: moments of the past; frames: how many [B] those are of,
        or what these weigh."""
        bands, count = self.bands, frames * next(iter(keys.values())).shape[-2]
        similar = [mean_scores(queries[i], met[_queries(i)]) for i in bands.middle]
        deep = [mean_scores(queries[i], met[_queries(i)]) for i in bands.deep]
        spread = [score_variances(queries[i], met[_queries(i)], count) for i in bands.deep_variance]
        shallow = [mean_scores(keys[i], met[_keys(i)]) for i in bands.shallow]
        crossing = [score_variances(queries[i], met[_keys(i)], count) for i in bands.shallow]
        return torch.stack([torch.stack(x).mean(dim=0) for x in (shallow, crossing, similar, deep, spread)], dim=1)

    def _shares(self, maps: Tensor, past: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """maps [B, 5, patches] as shares of places that speak less for motion; and mean and variance from now on."""
        normals = faded(past, maps, share[:, None])
        mean, variance = normals.unbind(dim=-1)
        deviation = (variance + _FLAT * mean.square() + _FLAT**2).sqrt()
        return torch.sigmoid(_NORMAL * self.signs * (maps - mean[..., None]) / deviation[..., None]), normals


def faded(past: Tensor, values: Tensor, share: Tensor) -> Tensor:
    """Mean and variance [..., 2] of places so far, once values [..., places] of a frame have a share [...] of them."""
    mean, variance = past.unbind(dim=-1)
    now = values.mean(dim=-1)
    apart = now - mean
    spread = (values - now[..., None]).square().mean(dim=-1)
    variance = variance + share * (spread - variance) + share * (1 - share) * apart.square()
    return torch.stack([mean + share * apart, variance], dim=-1)


def _keys(block: int) -> str:
    return f"{DYNAMIC_STATES}keys_{block}"


def _queries(block: int) -> str:
    return f"{DYNAMIC_STATES}queries_{block}"
