"""Names of weights that Depth Anything V2 and Video Depth Anything share: DINOv2 (`pretrained`) and a DPT decoder.

The decoder is called `depth_head` in the first and `head` in the second, where it also holds the attention over time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import VDA_TAPS, NetworkConfig
from vmdepth.official.shapes import Shapes, network_shapes, token_width

WIDTHS = {384: "small", 768: "base", 1024: "large", 1536: "giant"}  # of a token → preset
LETTERS = {"small": "s", "base": "b", "large": "l", "giant": "g"}  # of the preset, in official file names

# In every file, and never used: the first in pre-training only, the second because the coarsest map has no skip.
_UNUSED = re.compile(r"pretrained\.mask_token|(depth_head|head)\.scratch\.refinenet4\.resConfUnit1\..*")


def encoder_size(shapes: Shapes) -> str | None:
    """The preset whose encoder official names and shapes are of; None where they are of none."""
    return WIDTHS.get(token_width(shapes, "pretrained.", WIDTHS))


def official_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name → shape of everything in the official file of a network: ours under official names, and what is unused."""
    head = "head" if isinstance(config.head, AttentionSettings) else "depth_head"
    names = {_official(name, head): shape for name, shape in network_shapes(config).items()}
    names["pretrained.mask_token"] = (1, names["pretrained.cls_token"][-1])
    for part in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        unit = f"{head}.scratch.refinenet4.resConfUnit"
        names[f"{unit}1.{part}"] = names[f"{unit}2.{part}"]
    return names


def our_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors under the names of `VideoDepth`, without the unused ones."""
    return {_ours(name): tensor for name, tensor in tensors.items() if not _UNUSED.fullmatch(name)}


def _ours(name: str) -> str:
    module = re.fullmatch(r"head\.motion_modules\.(\d)\.temporal_transformer\.(.+)", name)
    if module:
        return f"heads.{VDA_TAPS[int(module[1])]}.{module[2]}"
    part, _, rest = name.partition(".")
    return f"{'encoder' if part == 'pretrained' else 'decoder'}.{rest}"


def _official(name: str, head: str) -> str:
    part, _, rest = name.partition(".")
    if part == "heads":
        tap, _, rest = rest.partition(".")
        return f"head.motion_modules.{VDA_TAPS.index(tap)}.temporal_transformer.{rest}"
    return f"{'pretrained' if part == 'encoder' else head}.{rest}"
