"""One Mamba-2 mixer (Dao & Gu 2024, "Transformers are SSMs") over time, with the parameter names of `mamba_ssm.Mamba2`.

Two faces of the same recurrence, per token and head with state h [head_dim, d_state]:

    h_t = exp(Δ_t A) h_{t−1} + Δ_t x_t B_tᵀ        y_t = h_t C_t + D x_t

`forward` is the quadratic masked form over a clip, whose decay mask is a causal mask, plus what the carried-in state
adds. `step` is the recurrence for one frame.

States rest in token-last layout: `ssm` [B, heads, head_dim, d_state, tokens] and `conv` [B, 3, channels, tokens], the
last three inputs of the convolution, newest last. On large maps that is 1.5 × faster than the official layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.attention import causal_mask

CONV_WIDTH = 4


def rms_norm(x: Tensor, weight: Tensor, dim: int, eps: float = 1e-5) -> Tensor:
    """x / √(mean(x²) + eps) · weight, over one axis (Zhang & Sennrich 2019). weight must broadcast against x."""
    # x * x, here and elsewhere: square() is exported as a Pow node, which costs several times a product.
    return x * torch.rsqrt((x * x).mean(dim, keepdim=True) + eps) * weight


class _Gain(nn.Module):
    """Only holds the gated norm's weight under its official name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Mamba2(nn.Module):
    """width: channels of a token. expand: inner channels per channel. One group (B and C shared by all heads)."""

    def __init__(self, width: int, head_dim: int, d_state: int, expand: int) -> None:
        super().__init__()
        self.inner = expand * width
        self.head_dim, self.d_state = head_dim, d_state
        if self.inner % head_dim:
            raise ValueError(f"inner width {self.inner} is no multiple of head_dim {head_dim}")
        self.heads = self.inner // head_dim
        self.conv_channels = self.inner + 2 * d_state
        self.in_proj = nn.Linear(width, 2 * self.inner + 2 * d_state + self.heads, bias=False)
        self.conv1d = nn.Conv1d(self.conv_channels, self.conv_channels, CONV_WIDTH, groups=self.conv_channels)
        # Initial values as published: A in −[1, 16], Δ log-uniform in [0.001, 0.1].
        delta = torch.exp(torch.empty(self.heads).uniform_(math.log(1e-3), math.log(1e-1)))
        self.dt_bias = nn.Parameter(delta + torch.log(-torch.expm1(-delta)))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = _Gain(self.inner)
        self.out_proj = nn.Linear(self.inner, width, bias=False)

    @property
    def _conv_bias(self) -> Tensor:
        assert self.conv1d.bias is not None
        return self.conv1d.bias

    def state_shapes(self, batch: int, tokens: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the two states, by name."""
        return {
            "ssm": (batch, self.heads, self.head_dim, self.d_state, tokens),
            "conv": (batch, CONV_WIDTH - 1, self.conv_channels, tokens),
        }

    def forward(
        self, x: Tensor, ssm: Tensor, conv: Tensor, watch: Callable[[Tensor], None] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A clip. x: [B·tokens, N, width], every token's own sequence. Returns (y like x, next ssm, next conv).

        watch: called with the mean over d_state of the state after every frame, [B·tokens, N, heads, head_dim].
        """
        projected = self.in_proj(x)
        # Under autocast too: a state that is rounded to 8 bits with every frame drifts by up to a quarter.
        with torch.autocast(x.device.type, enabled=False):
            y, next_ssm, next_conv = self._mix(projected.float(), ssm, conv, watch)
        return self.out_proj(y), next_ssm, next_conv

    def _mix(
        self, projected: Tensor, ssm: Tensor, conv: Tensor, watch: Callable[[Tensor], None] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All of `forward` between its two projections."""
        sequences, length, _ = projected.shape
        z, xbc, dt = projected.split([self.inner, self.conv_channels, self.heads], dim=-1)

        past = conv.permute(0, 3, 1, 2).reshape(sequences, CONV_WIDTH - 1, self.conv_channels)
        padded = torch.cat([past, xbc], dim=1)
        kernel = self.conv1d.weight[:, 0].unbind(-1)
        xbc = sum((padded[:, k : k + length] * kernel[k] for k in range(CONV_WIDTH)), self._conv_bias)
        value, b, c = F.silu(xbc).split([self.inner, self.d_state, self.d_state], dim=-1)
        value = value.unflatten(-1, (self.heads, self.head_dim))

        delta = F.softplus(dt + self.dt_bias)
        log_decay = (delta * -torch.exp(self.A_log)).cumsum(dim=1)
        # decay[i, j] = exp(Σ_{j<k≤i} Δ_k A): what is left at i of what came in at j; 0 for the future.
        decay = torch.exp(
            log_decay[:, :, None] - log_decay[:, None, :] + causal_mask(length, projected.device)[None, :, :, None]
        )
        weights = (c @ b.transpose(1, 2)).unsqueeze(-1) * decay * delta[:, None]
        y = torch.einsum("sijh,sjhp->sihp", weights, value)

        state = ssm.permute(0, 4, 1, 2, 3).reshape(sequences, self.heads, self.head_dim, self.d_state)
        since_start = torch.exp(log_decay)
        y = y + torch.einsum("shpn,sin,sih->sihp", state, c, since_start)
        if watch is not None:
            # The recurrence read by the same number everywhere instead of C_t.
            even = b.mean(dim=-1)[:, None, :, None] * decay * delta[:, None]
            left = state.mean(dim=-1)[:, None] * since_start[..., None]
            watch(torch.einsum("sijh,sjhp->sihp", even, value) + left)
        until_end = torch.exp(log_decay[:, -1:] - log_decay) * delta
        state = state * since_start[:, -1, :, None, None]
        state = state + torch.einsum("sjh,sjhp,sjn->shpn", until_end, value, b)

        y = (y + value * self.D[:, None]).flatten(2)
        y = rms_norm(y * F.silu(z), self.norm.weight, dim=-1)
        next_ssm = state.unflatten(0, (len(ssm), -1)).permute(0, 2, 3, 4, 1).contiguous()
        next_conv = padded[:, length:].unflatten(0, (len(conv), -1)).permute(0, 2, 3, 1).contiguous()
        return y, next_ssm, next_conv

    def step(self, x: Tensor, ssm: Tensor, conv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One frame, channels first. x: [B, width, tokens]. Returns (y like x, next ssm, next conv)."""
        z, xbc, dt = (self.in_proj.weight @ x).split([self.inner, self.conv_channels, self.heads], dim=1)

        next_conv = torch.cat([conv[:, 1:], xbc[:, None]], dim=1)
        kernel = self.conv1d.weight[:, 0, :, None].unbind(1)
        mixed = xbc * kernel[-1] + self._conv_bias[:, None]
        for k in range(CONV_WIDTH - 1):
            mixed = mixed + conv[:, k] * kernel[k]
        value, b, c = F.silu(mixed).split([self.inner, self.d_state, self.d_state], dim=1)
        value = value.unflatten(1, (self.heads, self.head_dim))

        delta = F.softplus(dt + self.dt_bias[:, None])
        decay = torch.exp(delta * -torch.exp(self.A_log)[:, None])
        next_ssm = ssm * decay[:, :, None, None] + (value * delta[:, :, None])[:, :, :, None] * b[:, None, None]
        y = (next_ssm * c[:, None, None]).sum(dim=3)

        y = (y + value * self.D[:, None, None]).flatten(1, 2)
        y = self.out_proj.weight @ rms_norm(y * F.silu(z), self.norm.weight[:, None], dim=1)
        return y, next_ssm, next_conv
