"""What cameras do to a picture, the same way through a whole clip: colour, exposure that drifts, blur and noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_KERNEL = 7
"""Pixels a blur reaches across."""


def augment(rgb: Tensor, generator: torch.Generator) -> Tensor:
    """A clip [N, 3, H, W], 0..1, as another camera would have filmed it; depth, flow and poses stay true.

    White balance, contrast, saturation and blur are drawn once per clip; exposure swings slowly from frame to frame, as
    an automatic one does; noise is new in every frame. generator: on the CPU; the same draws give the same clip.
    """
    frames = len(rgb)
    draw = torch.rand(17, generator=generator).tolist()

    def between(low: float, high: float, number: int) -> float:
        return low + (high - low) * draw[number]

    time = torch.arange(frames) / 30.0
    swing = between(0.0, 0.25, 0) * torch.sin(time * between(0.5, 4.0, 1) + between(0, 2 * math.pi, 2))
    exposure = torch.exp(between(-0.7, 0.7, 3) + swing)[:, None]
    balance = torch.tensor([1 + between(-0.25, 0.25, 4), 1.0, 1 + between(-0.25, 0.25, 5)])
    # In linear light; what is too bright saturates, as on a sensor.
    linear = rgb.clamp(0, 1) ** 2.2 * (exposure * balance).view(frames, 3, 1, 1).to(rgb)
    seen = linear.clamp(1e-4, 1) ** (between(0.7, 1.4, 6) / 2.2)
    grey = seen.mean(dim=1, keepdim=True)
    seen = grey + (seen - grey) * (0.0 if draw[16] < 0.05 else between(0.3, 1.5, 7))
    if draw[8] < 0.5:
        seen = _blur(seen, between(0.2, 1.5, 9), between(0.2, 2.5, 10) if draw[11] < 0.4 else 0.0, math.pi * draw[12])
    if draw[13] < 0.7:
        noise = torch.randn(seen.shape, generator=generator) * between(0.0, 0.04, 14)
        if draw[15] < 0.4:  # coarse, as compression leaves it
            small = functional.avg_pool2d(noise, 2, ceil_mode=True) * 2
            noise = functional.interpolate(small, scale_factor=2.0)[..., : seen.shape[-2], : seen.shape[-1]]
        seen = seen + noise.to(seen)
    return seen.clamp(0, 1)


def _blur(rgb: Tensor, spread: float, along: float, angle: float) -> Tensor:
    """Gaussian of deviation `spread` pixels, and more by `along` in one direction: a lens, and a hand that moves."""
    reach = torch.arange(_KERNEL) - _KERNEL // 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    kernel = torch.exp(-0.5 * (u / (spread + along)) ** 2 - 0.5 * (v / spread) ** 2)
    kernel = (kernel / kernel.sum()).to(rgb).expand(3, 1, -1, -1)
    padded = functional.pad(rgb, (_KERNEL // 2,) * 4, mode="replicate")
    return functional.conv2d(padded, kernel, groups=3)
