"""The recurrence of a Mamba-2 mixer over a whole clip: what any form of it takes and gives, and the quadratic form.

With state h [head_dim, d_state] of every sequence and head (Dao & Gu 2024):

    Δ_t = softplus(dt_t + dt_bias)    h_t = exp(Δ_t A) h_{t−1} + Δ_t x_t B_tᵀ    y_t = h_t C_t + D x_t

The chunked form, by kernels of mamba-ssm, is in `chunked_scan`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vmdepth.networks.attention import causal_mask

StateMeans = Callable[[Tensor], None]
"""Called with the mean over d_state of the state after every frame, [S, N, heads, head_dim]."""


class Scan(Protocol):
    """A form of the recurrence. All are float32, and agree to rounding."""

    def __call__(
        self,
        x: Tensor,
        dt: Tensor,
        b: Tensor,
        c: Tensor,
        state: Tensor,
        a: Tensor,
        d: Tensor,
        dt_bias: Tensor,
        watch: StateMeans | None = None,
    ) -> tuple[Tensor, Tensor]:
        """S sequences of N frames.

        Args:
            x: [S, N, heads, head_dim].
            dt: [S, N, heads], before bias and softplus.
            b: [S, N, d_state], shared by all heads, as is c.
            c: likewise.
            state: before the first frame, [S, heads, head_dim, d_state].
            a: negative, [heads].
            d: [heads].
            dt_bias: [heads].
            watch: is told of the states.

        Returns:
            y like x, and the state after the last frame.
        """


def quadratic(
    x: Tensor,
    dt: Tensor,
    b: Tensor,
    c: Tensor,
    state: Tensor,
    a: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    watch: StateMeans | None = None,
) -> tuple[Tensor, Tensor]:
    """The masked form, whose decay mask is a causal mask, plus what the carried-in state adds: see `Scan`.

    Of plain operations, so it runs and learns anywhere. Takes N² numbers per sequence and head.
    """
    length = x.shape[1]
    delta = F.softplus(dt + dt_bias)
    log_decay = (delta * a).cumsum(dim=1)
    # decay[i, j] = exp(Σ_{j<k≤i} Δ_k A): what is left at i of what came in at j; 0 for the future.
    decay = torch.exp(log_decay[:, :, None] - log_decay[:, None, :] + causal_mask(length, x.device)[None, :, :, None])
    weights = (c @ b.transpose(1, 2)).unsqueeze(-1) * decay * delta[:, None]
    y = torch.einsum("sijh,sjhp->sihp", weights, x)
    since_start = torch.exp(log_decay)
    y = y + torch.einsum("shpn,sin,sih->sihp", state, c, since_start)
    if watch is not None:
        # The recurrence read by the same number everywhere instead of C_t.
        even = b.mean(dim=-1)[:, None, :, None] * decay * delta[:, None]
        left = state.mean(dim=-1)[:, None] * since_start[..., None]
        watch(torch.einsum("sijh,sjhp->sihp", even, x) + left)
    until_end = torch.exp(log_decay[:, -1:] - log_decay) * delta
    state = state * since_start[:, -1, :, None, None]
    return y + x * d[:, None], state + torch.einsum("sjh,sjhp,sjn->shpn", until_end, x, b)
