"""One Mamba-2 mixer (Dao & Gu 2024, "Transformers are SSMs") over time, with the parameter names of `mamba_ssm.Mamba2`.

Two faces of the same recurrence, per token and head with state h [head_dim, d_state]:

    h_t = exp(Δ_t A) h_{t−1} + Δ_t x_t B_tᵀ        y_t = h_t C_t + D x_t

`forward` goes over a clip by a `Scan`: the quadratic masked form, or the kernels of mamba-ssm. `step` is the recurrence
for one frame.

The recurrence and what leads to it are float32 in every precision, and so are the states.

States rest in token-last layout: `ssm` [B, heads, head_dim, d_state, tokens] and `conv` [B, 3, channels, tokens], the
last three inputs of the convolution, newest last. On large maps that is 1.5 × faster than the official layout.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.heads.precision import full, in_dtype
from vmdepth.networks.heads.scan import Scan, StateMeans, quadratic

CONV_WIDTH = 4


def rms_norm(x: Tensor, weight: Tensor, dim: int, eps: float = 1e-5) -> Tensor:
    """x / √(mean(x²) + eps) · weight, over one axis (Zhang & Sennrich 2019). weight must broadcast against x."""
    # Squares overflow float16. x * x, here and elsewhere: square() is exported as a Pow node, which costs several times
    # a product.
    wide = full(x)
    normed = wide * torch.rsqrt((wide * wide).mean(dim, keepdim=True) + eps) * weight
    return in_dtype(normed, torch.promote_types(x.dtype, weight.dtype))


class _Gain(nn.Module):
    """Only holds the gated norm's weight under its official name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Mamba2(nn.Module):
    """width: channels of a token. expand: inner channels per channel. One group (B and C shared by all heads).

    scan: the form of the recurrence in `forward`; none of the weights, so it may be changed at any time.
    """

    scan: Scan

    def __init__(self, width: int, head_dim: int, d_state: int, expand: int) -> None:
        super().__init__()
        self.inner = expand * width
        self.head_dim, self.d_state = head_dim, d_state
        if self.inner % head_dim:
            raise ValueError(f"inner width {self.inner} is no multiple of head_dim {head_dim}")
        self.heads = self.inner // head_dim
        self.scan = quadratic
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
        self, x: Tensor, ssm: Tensor, conv: Tensor, watch: StateMeans | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A clip. x: [B·tokens, N, width], every token's own sequence. Returns (y like x, next ssm, next conv).

        watch: called with the mean over d_state of the state after every frame, [B·tokens, N, heads, head_dim].
        """
        projected = self.in_proj(x)
        # Under autocast too: a state that is rounded to 8 bits with every frame drifts by up to a quarter.
        with torch.autocast(x.device.type, enabled=False):
            y, next_ssm, next_conv = self._mix(full(projected), full(ssm), full(conv), watch)
        return self.out_proj(in_dtype(y, self.out_proj.weight.dtype)), next_ssm, next_conv

    def _mix(
        self, projected: Tensor, ssm: Tensor, conv: Tensor, watch: StateMeans | None
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

        state = ssm.permute(0, 4, 1, 2, 3).reshape(sequences, self.heads, self.head_dim, self.d_state)
        rates = -torch.exp(full(self.A_log)), full(self.D), full(self.dt_bias)
        y, state = self.scan(value, dt, b, c, state, *rates, watch)

        y = rms_norm(y.flatten(2) * F.silu(z), full(self.norm.weight), dim=-1)
        next_ssm = state.unflatten(0, (len(ssm), -1)).permute(0, 2, 3, 4, 1).contiguous()
        next_conv = padded[:, length:].unflatten(0, (len(conv), -1)).permute(0, 2, 3, 1).contiguous()
        return y, next_ssm, next_conv

    def step(self, x: Tensor, ssm: Tensor, conv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One frame, channels first. x: [B, width, tokens]. Returns (y like x, next ssm, next conv)."""
        z, xbc, dt = full(self.in_proj.weight @ x).split([self.inner, self.conv_channels, self.heads], dim=1)
        ssm, conv = full(ssm), full(conv)

        next_conv = torch.cat([conv[:, 1:], xbc[:, None]], dim=1)
        kernel = self.conv1d.weight[:, 0, :, None].unbind(1)
        mixed = xbc * kernel[-1] + self._conv_bias[:, None]
        for k in range(CONV_WIDTH - 1):
            mixed = mixed + conv[:, k] * kernel[k]
        value, b, c = F.silu(mixed).split([self.inner, self.d_state, self.d_state], dim=1)
        value = value.unflatten(1, (self.heads, self.head_dim))

        delta = F.softplus(dt + self.dt_bias[:, None])
        decay = torch.exp(delta * -torch.exp(full(self.A_log))[:, None])
        next_ssm = ssm * decay[:, :, None, None] + (value * delta[:, :, None])[:, :, :, None] * b[:, None, None]
        y = (next_ssm * c[:, None, None]).sum(dim=3)

        y = (y + value * self.D[:, None, None]).flatten(1, 2)
        y = rms_norm(y * F.silu(z), self.norm.weight[:, None], dim=1)
        return self.out_proj.weight @ in_dtype(y, self.out_proj.weight.dtype), next_ssm, next_conv
