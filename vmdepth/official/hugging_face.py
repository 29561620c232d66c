"""Depth Anything V2 as the transformers library names its weights, under the official names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from vmdepth.official.dpt_names import WIDTHS
from vmdepth.official.shapes import Shapes, check_shapes, shapes_of, token_width
from vmdepth_runtime.errors import InputError

_NAMES = (
    (r"backbone\.embeddings\.(cls|mask)_token", r"pretrained.\1_token"),
    (r"backbone\.embeddings\.position_embeddings", r"pretrained.pos_embed"),
    (r"backbone\.embeddings\.patch_embeddings\.projection\.(.+)", r"pretrained.patch_embed.proj.\1"),
    (r"backbone\.layernorm\.(.+)", r"pretrained.norm.\1"),
    (r"backbone\.encoder\.layer\.(\d+)\.attention\.output\.dense\.(.+)", r"pretrained.blocks.\1.attn.proj.\2"),
    (r"backbone\.encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1", r"pretrained.blocks.\1.ls\2.gamma"),
    (r"backbone\.encoder\.layer\.(\d+)\.mlp\.weights_in\.(.+)", r"pretrained.blocks.\1.mlp.w12.\2"),
    (r"backbone\.encoder\.layer\.(\d+)\.mlp\.weights_out\.(.+)", r"pretrained.blocks.\1.mlp.w3.\2"),
    (r"backbone\.encoder\.layer\.(\d+)\.((?:norm|mlp).+)", r"pretrained.blocks.\1.\2"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.projection\.(.+)", r"depth_head.projects.\1.\2"),
    (r"neck\.reassemble_stage\.layers\.(\d)\.resize\.(.+)", r"depth_head.resize_layers.\1.\2"),
    (r"head\.conv1\.(.+)", r"depth_head.scratch.output_conv1.\1"),
    (r"head\.conv2\.(.+)", r"depth_head.scratch.output_conv2.0.\1"),
    (r"head\.conv3\.(.+)", r"depth_head.scratch.output_conv2.2.\1"),
)
_BEGINNINGS = ("backbone.embeddings.", "backbone.encoder.layer.")
_QKV = re.compile(r"backbone\.encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)")
_REDUCE = re.compile(r"neck\.convs\.(\d)\.weight")
_FUSION = re.compile(r"neck\.fusion_stage\.layers\.(\d)\.(.+)")


def shapes_by_official_names(shapes: Shapes) -> Shapes:
    """A file's shapes under official names, but for the three parts of an attention's weights; others as they are."""
    return {_official_name(name): shape for name, shape in shapes.items()} if _is_named_so(shapes) else shapes


def official_tensors(path: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A file's tensors under official names; those of a file that has such names come back as they are.

    Names without a counterpart stay, for the check to complain of.

    Raises:
        InputError: the three parts of an attention's weights cannot be put together, or two weights have one name.
    """
    if not _is_named_so(tensors):
        return tensors
    official: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not _QKV.fullmatch(name):
            known = _official_name(name)
            if known in official or (known != name and known in tensors):
                raise InputError(f"{path}: looks like Depth Anything V2, but holds {known} twice")
            official[known] = tensor
    return official | _joined_qkv(path, tensors, token_width(shapes_of(official), "pretrained.", WIDTHS))


def _joined_qkv(path: Path, tensors: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """Query, key and value of every block as the one weight and the one bias that official files have."""
    layers = {match[1] for name in tensors if (match := _QKV.fullmatch(name))}
    attention = "backbone.encoder.layer.{}.attention.attention.{}.{}"
    parts = {
        f"pretrained.blocks.{layer}.attn.qkv.{kind}": [
            attention.format(layer, part, kind) for part in ("query", "key", "value")
        ]
        for layer in layers
        for kind in ("weight", "bias")
    }
    given = {name: shape for name, shape in shapes_of(tensors).items() if _QKV.fullmatch(name)}
    shapes = {"weight": (width, width), "bias": (width,)}
    expected = {name: shapes[name.rpartition(".")[2]] for three in parts.values() for name in three}
    check_shapes(path, given, expected, "Depth Anything V2 as Hugging Face has it")
    return {name: torch.cat([tensors[part] for part in three]) for name, three in parts.items()}


def _is_named_so(names: Iterable[str]) -> bool:
    return any(name.startswith(_BEGINNINGS) for name in names)


def _official_name(name: str) -> str:
    if match := _REDUCE.fullmatch(name):
        return f"depth_head.scratch.layer{int(match[1]) + 1}_rn.weight"
    if match := _FUSION.fullmatch(name):  # coarse to fine there, by the number of the map here
        inner = match[2].replace("projection.", "out_conv.")
        inner = inner.replace("residual_layer", "resConfUnit").replace("convolution", "conv")
        return f"depth_head.scratch.refinenet{4 - int(match[1])}.{inner}"
    for pattern, official in _NAMES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, official, name)
    return name
