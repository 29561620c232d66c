"""`Observer`: is shown what the blocks of an encoder work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from vmdepth.networks.attention import Meeting, Rotation, attend

SPECIAL = 1  # tokens of an image before its patches: the class token, in Depth Anything 3 later the camera token

Part = Literal["query", "key", "input", "output"]


@dataclass(frozen=True)
class BlockSlice:
    """A part of what one block works with, of n images that follow each other.

    layer: index of the block; kind: whether it sees one view or all; first: index of the first image among all B·N, in
    the caller's order. values: queries or keys as they enter the product, after their norm and rotation, [n, heads,
    tokens, d]; or tokens as they enter or leave the block [n, tokens, width]. They may be overwritten afterwards: what
    is to stay is copied. special: how many of the tokens come before the patches.
    """

    layer: int
    kind: Literal["local", "global"]
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

    def show(
        self, layer: int, part: Part, first: int, values: Tensor, kind: Literal["local", "global"] = "local"
    ) -> None:
        """Call `see`, where this part of this block was asked for."""
        if part in self.parts and (self.layers is None or layer in self.layers):
            self.see(BlockSlice(layer, kind, part, self.first + first, values))

    def through(
        self,
        layer: int,
        block: nn.Module,
        tokens: Tensor,
        rotation: Rotation | None = None,
        meet: Meeting = attend,
        *,
        first: int = 0,
        kind: Literal["local", "global"] = "local",
    ) -> Tensor:
        """Tokens of images through a block, in sight."""

        def watch(query: Tensor, key: Tensor) -> None:
            self.show(layer, "query", first, query, kind)
            self.show(layer, "key", first, key, kind)

        self.show(layer, "input", first, tokens, kind)
        after = block(tokens, rotation, watch, meet)
        self.show(layer, "output", first, after, kind)
        return after
