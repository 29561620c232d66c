"""MobileNetV2 (Sandler et al. 2018) at output stride 16, as DeepLabv3 (Chen et al. 2017) dilates it: the edge encoder.

Batch norm is folded into the convolutions, so nothing here differs between training and use.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vmdepth.networks.observer import Observer

NAME = "mobilenet"
STEM = 32  # channels of the first convolution
# Of every block: factor of its inner width, channels, stride, dilation.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1), (6, 24, 1, 1),
    (6, 32, 2, 1), (6, 32, 1, 1), (6, 32, 1, 1),
    (6, 64, 2, 1), (6, 64, 1, 1), (6, 64, 1, 1), (6, 64, 1, 1),
    (6, 96, 1, 1), (6, 96, 1, 1), (6, 96, 1, 1),
    (6, 160, 1, 1), (6, 160, 1, 2), (6, 160, 1, 2),
    (6, 320, 1, 2),
)  # fmt: skip
TAPS = (0, 2, 5, 12, 16)  # the blocks that the decoder reads
STRIDES = (2, 4, 8, 16, 16)  # of their maps
EDGES, LAYERS = 16, (24, 32, 96, 320)  # their channels: of the finest, and of the others


def _padded(x: Tensor, stride: int) -> Tensor:
    """With zeros where a strided kernel of 3 reaches out, as TensorFlow has it: of even sizes only at the end."""
    return F.pad(x, (x.shape[3] % 2, 1, x.shape[2] % 2, 1)) if stride == 2 else x


class Block(nn.Module):
    """Inverted residual: wide, filtered channel by channel, narrow again, without an activation at the end."""

    def __init__(self, before: int, factor: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        inner = factor * before
        self.stride = stride
        self.expand = nn.Conv2d(before, inner, 1) if factor > 1 else None
        padding = dilation if stride == 1 else 0
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, padding, dilation, groups=inner)
        self.project = nn.Conv2d(inner, channels, 1)
        self.residual = stride == 1 and before == channels

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else F.relu6(self.expand(x))
        inner = F.relu6(self.depthwise(_padded(inner, self.stride)))
        out = self.project(inner)
        return x + out if self.residual else out


class MobileNet(nn.Module):
    """Images → five maps, fine to coarse.

    `forward(images)`: images [B, 3, H, W], normalised by `mean` and `std`, H and W multiples of `stride`. Returns
    maps [B, C, H/s, W/s] of `EDGES` and `LAYERS` channels and of `STRIDES`. It has no attention, so no queries to
    observe: ValueError.
    """

    stride = 16
    usual_size = (192, 272)
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing = False  # training: keep only what goes between blocks, and compute the rest again
        self.stem = nn.Conv2d(3, STEM, 3, 2)
        widths = (STEM, *(channels for _, channels, _, _ in BLOCKS))
        self.blocks = nn.ModuleList(Block(before, *block) for before, block in zip(widths, BLOCKS, strict=False))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor, observe: Observer | None = None) -> list[Tensor]:
        if observe is not None:
            raise ValueError("this encoder has no attention: there are no queries and keys to observe")
        x = F.relu6(self.stem(_padded(images, 2)))
        maps = []
        for index, block in enumerate(self.blocks):
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing else block(x)
            if index in TAPS:
                maps.append(x)
        return maps

    def begin(self) -> list[nn.Module]:
        """What comes before the first block."""
        return [self.stem]

    def describe(self, maps: list[Tensor]) -> Tensor:
        """What a picture shows on the whole [B, C]: the mean of its last map."""
        return maps[-1].mean(dim=(2, 3))

    def fold(self, height: int, width: int) -> None:
        """Nothing here depends on the size."""
