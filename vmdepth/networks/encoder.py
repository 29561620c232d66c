"""The DINOv2 vision transformer (Oquab et al. 2023) as a multi-level feature extractor, with its official names."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vmdepth.networks.attention import attend

# Turns queries or keys [..., tokens, d] by their places; sees queries and keys [images, heads, tokens, d].
Rotation = Callable[[Tensor], Tensor]
Watch = Callable[[Tensor, Tensor], None]
# What queries find in keys and values, [images, heads, tokens, d] each; of the shape of the queries.
Meeting = Callable[[Tensor, Tensor, Tensor], Tensor]

PATCH = 14
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of R, G, B in 0..1
SPECIAL = 1  # tokens of an image before its patches: the class token, in Depth Anything 3 later the camera token
TABLE_GRID = (37, 37)  # positions that every published table holds: 518 × 518 pixels

Part = Literal["query", "key", "input", "output"]
Sight = Literal["local", "global"]  # of a block: one view, or all


@dataclass(frozen=True)
class BlockSlice:
    """A part of what one block works with, of n images that follow each other.

    layer: index of the block; kind: whether it sees one view or all; first: index of the first image among all B·N, in
    the caller's order. values: queries or keys as they enter the product, after their norm and rotation, [n, heads,
    tokens, d]; or tokens as they enter or leave the block [n, tokens, width]. They may be overwritten afterwards: what
    is to stay is copied. special: how many of the tokens come before the patches.
    """

    layer: int
    kind: Sight
    part: Part
    first: int
    values: Tensor
    special: int = SPECIAL


@dataclass(frozen=True)
class Observer:
    """Is shown slices of what blocks work with while a network looks; changes nothing.

    One block comes after the other, and of a part of a block the images in their order; nothing is gathered.
    see: called with every slice. parts: which of a block's. layers: of which blocks; None: of all. first: the index of
    the first image that goes in. keeps: how many numbers `see` holds at once, in shares of the tokens of all images,
    for the estimate of memory.
    """

    see: Callable[[BlockSlice], None]
    parts: tuple[Part, ...] = ("query", "key")
    layers: tuple[int, ...] | None = None
    first: int = 0
    keeps: float = 0.0

    def from_image(self, first: int) -> Observer:
        """The same where the first image that goes in has this index among those that it went in with before."""
        return replace(self, first=self.first + first)

    def show(self, layer: int, part: Part, first: int, values: Tensor, kind: Sight = "local") -> None:
        """Call `see`, where this part of this block was asked for."""
        if part in self.parts and (self.layers is None or layer in self.layers):
            self.see(BlockSlice(layer, kind, part, self.first + first, values))

    def through(
        self, layer: int, block: Block, tokens: Tensor, first: int = 0, kind: Sight = "local", **options: Any
    ) -> Tensor:
        """Tokens of images through a block, in sight. options: of the block."""

        def watch(query: Tensor, key: Tensor) -> None:
            self.show(layer, "query", first, query, kind)
            self.show(layer, "key", first, key, kind)

        self.show(layer, "input", first, tokens, kind)
        after = block(tokens, watch=watch, **options)
        self.show(layer, "output", first, after, kind)
        return after


@dataclass(frozen=True)
class EncoderSize:
    """width: channels of a token; taps: the four blocks (from 0) whose output the decoder reads."""

    width: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    swiglu: bool = False


ENCODERS = {
    "tiny": EncoderSize(192, 12, 3, (2, 5, 8, 11)),
    "small": EncoderSize(384, 12, 6, (2, 5, 8, 11)),
    "base": EncoderSize(768, 12, 12, (2, 5, 8, 11)),
    "large": EncoderSize(1024, 24, 16, (4, 11, 17, 23)),
    "giant": EncoderSize(1536, 40, 24, (9, 19, 29, 39), swiglu=True),
}


def grid_code(rows: int, columns: int, width: int) -> Tensor:
    """Sinusoidal code [rows · columns, width] of places in a grid, in −0.5..0.5: half the channels tell the row.

    As in He et al. 2022, with shorter waves. What an untrained position table starts from: it is smooth, so a network
    trained at one size knows its way at another, and about as strong as the tokens, so places count from the start.
    """
    waves = 100 ** (-torch.arange(width // 4) / (width // 4))

    def code(places: int) -> Tensor:
        angle = torch.arange(places)[:, None] * waves
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    down, across = code(rows)[:, None], code(columns)[None]
    return 0.5 * torch.cat([down.expand(-1, columns, -1), across.expand(rows, -1, -1)], dim=-1).flatten(0, 1)


class PatchEmbed(nn.Module):
    """Images [B, 3, H, W] → a token per patch [B, (H/14)·(W/14), width], row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention over tokens [batch, tokens, width].

    qk_norm: every query and key goes through a layer norm over the channels of its head, and only then through the
    rotation (if there is one). `watch` sees queries and keys as they enter the product, which is `meet`: by itself the
    queries of an image meet its own keys and values.
    """

    def __init__(self, width: int, heads: int, qk_norm: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads, eps=1e-5) if qk_norm else None
        self.k_norm = nn.LayerNorm(width // heads, eps=1e-5) if qk_norm else None
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, watch: Watch | None = None, meet: Meeting = attend
    ) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        query, key = _prepared(query, self.q_norm, rotation), _prepared(key, self.k_norm, rotation)
        if watch is not None:
            watch(query, key)
        return self.join(meet(query, key, value))

    def queries(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """x [batch, tokens, width] → its queries alone [batch, heads, tokens, d]."""
        (query,) = self._parts(x, 0, 1)
        return _prepared(query, self.q_norm, rotation)

    def keys_and_values(self, x: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor]:
        """x [batch, tokens, width] → its keys and values, [batch, heads, tokens, d] each."""
        key, value = self._parts(x, 1, 3)
        return _prepared(key, self.k_norm, rotation), value

    def join(self, heads: Tensor) -> Tensor:
        """What the heads found [batch, heads, tokens, d] → [batch, tokens, width]."""
        batch, _, tokens, _ = heads.shape
        return self.proj(heads.transpose(1, 2).reshape(batch, tokens, -1))

    def _parts(self, x: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
        rows = slice(first * x.shape[-1], last * x.shape[-1])
        parts = F.linear(x, self.qkv.weight[rows], self.qkv.bias[rows])
        return parts.unflatten(-1, (last - first, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def _prepared(x: Tensor, norm: nn.LayerNorm | None, rotation: Rotation | None) -> Tensor:
    x = x if norm is None else norm(x)
    return x if rotation is None else rotation(x)


class Mlp(nn.Module):
    """The feed-forward of all sizes but the giant: every token [..., width] alone, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    """The giant's feed-forward: the first half of w12 goes through SiLU and gates the second (Shazeer 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (width * 8 // 3 + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class LayerScale(nn.Module):
    """A learnt gain per channel of [..., width] (Touvron et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Attention and feed-forward on tokens [batch, tokens, width], each normalised before and scaled after.

    qk_norm, rotation, watch, meet: as for `Attention`; eps: of the two norms.
    """

    def __init__(self, size: EncoderSize, qk_norm: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=eps)
        self.attn = Attention(size.width, size.heads, qk_norm)
        self.ls1 = LayerScale(size.width)
        self.norm2 = nn.LayerNorm(size.width, eps=eps)
        self.mlp = SwiGlu(size.width) if size.swiglu else Mlp(size.width)
        self.ls2 = LayerScale(size.width)

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, watch: Watch | None = None, meet: Meeting = attend
    ) -> Tensor:
        return self.feed_forward(x + self.ls1(self.attn(self.norm1(x), rotation, watch, meet)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """The half of the block after the attention; works on every token alone."""
        return x + self.ls2(self.mlp(self.norm2(x)))


class Encoder(nn.Module):
    """Images → four maps of patch tokens, each through the final norm.

    `forward(images)`: images [B, 3, H, W], normalised, H and W multiples of `stride`. Returns four
    tensors [B, (H/stride)·(W/stride), width], shallow to deep. Frames never see each other here. observe: is
    shown every block.
    qk_norm_from: the first block with normalised queries and keys (None: no block). norm_eps: of the final norm.
    """

    stride = PATCH
    usual_size = (196, 252)
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, name: str, qk_norm_from: int | None = None, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.size = ENCODERS[name]
        self.checkpointing = False  # training: keep only what goes between blocks, and compute the rest again
        width = self.size.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TABLE_GRID[0] * TABLE_GRID[1], width))
        self.table_grid = TABLE_GRID
        self.patch_embed = PatchEmbed(width)
        first = self.size.depth if qk_norm_from is None else qk_norm_from
        self.blocks = nn.ModuleList(Block(self.size, qk_norm=index >= first) for index in range(self.size.depth))
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self._initialise()

    def _initialise(self) -> None:
        with torch.no_grad():
            self.pos_embed[:, 1:] = grid_code(*TABLE_GRID, self.size.width)
        nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor, observe: Observer | None = None) -> list[Tensor]:
        tokens = self.embed(images, self.positions((images.shape[-2] // PATCH, images.shape[-1] // PATCH)))
        maps = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            # Computed twice, as `through` may, it would be seen twice.
            tokens = observe.through(index, block, tokens) if observe is not None else self.through(block, tokens)
            if index in self.size.taps:
                maps.append(self.norm(tokens)[:, SPECIAL:])
        return maps

    def through(self, block: nn.Module, tokens: Tensor, rotation: Rotation | None = None) -> Tensor:
        """Tokens through a block, of which gradients keep no more than what goes in where `checkpointing` says so."""
        if self.checkpointing:
            return checkpoint(block, tokens, rotation, use_reentrant=False)
        return block(tokens, rotation)

    def embed(self, images: Tensor, positions: Tensor) -> Tensor:
        """images [n, 3, H, W], normalised → tokens [n, 1 + patches, width] with their places, the class token first."""
        tokens = self.patch_embed(images)
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + positions

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position table [1, 1 + h·w, width] for a patch grid (h, w).

        Resized bicubically by the factors (h + 0.1)/37 and (w + 0.1)/37, which also place the samples: resizing to the
        size (h, w) instead, as some ports do, moves the depth by several percent.
        """
        if grid == self.table_grid:
            return self.pos_embed
        rows, columns = self.table_grid
        table = self.pos_embed[:, 1:].reshape(1, rows, columns, -1).permute(0, 3, 1, 2).float()
        table = F.interpolate(
            table, scale_factor=((grid[0] + 0.1) / rows, (grid[1] + 0.1) / columns), mode="bicubic", antialias=False
        )
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)], dim=1)

    def begin(self) -> list[nn.Module | nn.Parameter]:
        """What comes before the first block."""
        return [self.patch_embed, self.cls_token, self.pos_embed]

    def describe(self, maps: list[Tensor]) -> Tensor:
        """What a picture shows on the whole [B, width]: the mean of its last map."""
        return maps[-1].mean(dim=1)

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        """Keep only the table of one input size (pixels), so that nothing is resized per frame. Cannot be undone."""
        grid = (height // PATCH, width // PATCH)
        self.pos_embed = nn.Parameter(self.positions(grid).clone(), requires_grad=False)
        self.table_grid = grid


def check_size(height: int, width: int, stride: int) -> None:
    """Raise ValueError, naming the nearest two that work, for a size that is no multiple of an encoder's stride."""
    if height < stride or width < stride or height % stride or width % stride:
        below, above = (
            "x".join(str(max(1, whole(side / stride)) * stride) for side in (height, width))
            for whole in (math.floor, math.ceil)
        )
        nearest = f"the nearest that works is {below}" if below == above else f"the nearest are {below} and {above}"
        raise ValueError(f"size {height}x{width} is no multiple of {stride}; {nearest}")
