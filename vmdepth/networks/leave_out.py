"""What no query finds: keys and values of patches that are left out of the attention of some blocks."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from vmdepth.networks.observer import SPECIAL


class LeaveOut:
    """Patches whose keys and values are left out in some blocks, as if they were not there; their queries stay.

    VGGT4D (arXiv 2511.19971) so keeps what moves from telling cameras where they are. Special tokens are never left
    out, so even an image all of whose patches are has something to see.

    Attributes:
        patches: bool [B, N, h, w], those that are left out.
        blocks: where, by their numbers from 0.
        kept: bool [B·N, tokens], which tokens of an image are there to be found.
    """

    def __init__(self, patches: Tensor, blocks: Collection[int]) -> None:
        self.patches, self.blocks = patches, frozenset(blocks)
        kept = ~patches.flatten(2).flatten(0, 1)
        self.kept = torch.cat([kept.new_ones(len(kept), SPECIAL), kept], dim=1)

    def check(self, shape: tuple[int, int, int, int], depth: int) -> None:
        """Raises ValueError where these are not patches of clips [B, N, h, w], or blocks of a network of that many."""
        if self.patches.dtype != torch.bool or tuple(self.patches.shape) != shape:
            kind = str(self.patches.dtype).removeprefix("torch.")
            raise ValueError(
                f"patches to leave out are {kind} {list(self.patches.shape)}; these views need bool {list(shape)}"
            )
        wrong = sorted(block for block in self.blocks if not 0 <= block < depth)
        if wrong:
            raise ValueError(f"block {wrong[0]}: this network has blocks 0 to {depth - 1}")

    def kept_in(self, block: int) -> Tensor | None:
        """`kept`, or None for a block where nothing is left out."""
        return self.kept if block in self.blocks else None


def key_mask(kept: Tensor, dtype: torch.dtype) -> Tensor:
    """kept: bool [n, keys] → the additive mask [n, 1, 1, keys] for `attend`: −∞ where a key is left out.

    exp(−∞) is 0: it is the same as removing key and value. A key of zeros would not be: its score is 0, which counts.
    """
    return torch.zeros_like(kept, dtype=dtype).masked_fill(~kept, float("-inf"))[:, None, None]
