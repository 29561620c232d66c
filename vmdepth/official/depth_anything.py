"""Official checkpoints of Depth Anything V2 and Video Depth Anything: what they are, and their names as ours."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import PRESETS, VDA_TAPS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError

Shapes = dict[str, tuple[int, ...]]

_SIZES = {384: "small", 768: "base", 1024: "large", 1536: "giant"}  # by width of a token
_LETTERS = {"small": "s", "base": "b", "large": "l", "giant": "g"}
# Metres, by what the official files are called, and the folders of Hugging Face's.
_MAX_DEPTH = {"metric_hypersim": 20.0, "metric_vkitti": 80.0, "metric-indoor": 20.0, "metric-outdoor": 80.0}

# In every file, and never used: the first in pre-training only, the second because the coarsest map has no skip.
_UNUSED = re.compile(r"pretrained\.mask_token|(depth_head|head)\.scratch\.refinenet4\.resConfUnit1\..*")

_HUGGING_FACE = (
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
_HF_BEGINNING = ("backbone.embeddings.", "backbone.encoder.layer.")
_HF_QKV = re.compile(r"backbone\.encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)")
_HF_REDUCE = re.compile(r"neck\.convs\.(\d)\.weight")
_HF_FUSION = re.compile(r"neck\.fusion_stage\.layers\.(\d)\.(.+)")


def recognise(
    path: Path, tensors: Mapping[str, Tensor], metric: bool | None, max_depth: float | None
) -> tuple[dict[str, Tensor], NetworkConfig, str]:
    """Weights under our names, the network they are of, and what to call it.

    metric, max_depth: see `vmdepth.checkpoint.load`; None goes by the file's name. Raises InputError when the names
    are of no network we know, or when some are missing, unknown or of another shape.
    """
    tensors = dict(tensors)
    if any(name.startswith(_HF_BEGINNING) for name in tensors):
        tensors = _from_hugging_face(path, tensors)
    size = _SIZES.get(token_width(shapes_of(tensors), "pretrained.", _SIZES))
    video = any(name.startswith("head.motion_modules.") for name in tensors)
    if size is None or not (video or any(name.startswith("depth_head.") for name in tensors)):
        some = ", ".join(sorted(tensors)[:5])
        raise InputError(
            f"{path}: not a checkpoint of a network we know; it begins with {some}. There are: vmdepth-train's, "
            f"Depth Anything V2 and 3, and Video Depth Anything"
        )
    config = replace(PRESETS[size], output="relu", head=NoHead(), taps=())
    if video:
        config = replace(config, head=AttentionSettings("streaming"), taps=VDA_TAPS)
        family, name = f"Video Depth Anything {size}", f"video_depth_anything_vit{_LETTERS[size]}"
        if max_depth is not None:
            raise InputError(f"{path}: is {family}, which needs no max_depth: its metric form gives metres as it is")
        if re.search("metric[-_]video", called(path)) if metric is None else metric:
            config, name = replace(config, depth="metric"), f"metric_{name}"
    else:
        family, name = f"Depth Anything V2 {size}", f"depth_anything_v2_vit{_LETTERS[size]}"
        if metric is False and max_depth is not None:
            raise InputError(f"{path}: metric=False and max_depth={max_depth:g} contradict each other")
        if max_depth is None and metric is not False:
            max_depth = _named_max_depth(path)
        if metric and max_depth is None:
            raise InputError(f"{path}: say how many metres this metric network reaches, for example max_depth=20")
        if max_depth is not None:
            config = replace(config, output="sigmoid", depth="metric", max_depth=max_depth)
            name = name.replace("_v2_", "_v2_metric_")
    check_names(path, tensors, official_shapes(config), family)
    return {_ours(name): tensor for name, tensor in tensors.items() if not _UNUSED.fullmatch(name)}, config, name


def called(path: Path) -> str:
    """What tells a metric file from a relative one, in lower case.

    That is the names of the file, of its folder and of its model in Hugging Face's cache, which keeps files three
    folders deep in `models--owner--name`.
    """
    parts = path.absolute().parts
    return "/".join([*(part for part in parts[:-2] if part.startswith("models--")), *parts[-2:]]).lower()


def _named_max_depth(path: Path) -> float | None:
    """Metres a metric Depth Anything V2 reaches, by its official names or Hugging Face's settings beside it."""
    for part, metres in _MAX_DEPTH.items():
        if part in called(path):
            return metres
    try:
        settings = json.loads(path.with_name("config.json").read_text())
        return float(settings["max_depth"]) if settings["depth_estimation_type"] == "metric" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def official_shapes(config: NetworkConfig) -> Shapes:
    """Name → shape of everything in the official file of a network: ours under official names, and what is unused."""
    head = "head" if isinstance(config.head, AttentionSettings) else "depth_head"
    names = {_official(name, head): shape for name, shape in network_shapes(config).items()}
    names["pretrained.mask_token"] = (1, names["pretrained.cls_token"][-1])
    for part in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        unit = f"{head}.scratch.refinenet4.resConfUnit"
        names[f"{unit}1.{part}"] = names[f"{unit}2.{part}"]
    return names


def network_shapes(config: NetworkConfig) -> Shapes:
    """Name → shape of all weights of a network."""
    with torch.device("meta"):
        return shapes_of(VideoDepth(config).state_dict())


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Name → shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_names(path: Path, tensors: Mapping[str, Tensor], expected: Shapes, what: str) -> None:
    """Raise InputError unless names and shapes are exactly those expected of `what`."""
    if misfit := misfits(shapes_of(tensors), expected):
        raise InputError(f"{path}: looks like {what}, but {misfit}")


def misfits(given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Where names and shapes differ, up to five of them in words; empty when they are the same."""
    misshapen = sorted(name for name in expected.keys() & given.keys() if given[name] != expected[name])
    problems = [f"{name} is missing" for name in sorted(expected.keys() - given.keys())]
    problems += [f"{name} does not belong to it" for name in sorted(given.keys() - expected.keys())]
    problems += [f"{name} is {list(given[name])} instead of {list(expected[name])}" for name in misshapen]
    more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
    return ", ".join(problems[:5]) + more


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


def token_width(shapes: Mapping[str, Sequence[int]], encoder: str, known: Collection[int]) -> int:
    """Channels of a token, by the first of several weights that is there and has a known width; 0 where none has.

    encoder: how the names of its weights begin.
    """
    names = ("camera_token", "cls_token", "pos_embed", "norm.weight", "patch_embed.proj.bias")
    widths = (shapes[encoder + name][-1:] for name in names if encoder + name in shapes)
    return next((width for (*_, width) in widths if width in known), 0)


def _from_hugging_face(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Depth Anything V2 as the transformers library names it, under the official names.

    Names without a counterpart stay as they are, for the check to complain of. Raises InputError where the three parts
    of an attention's weights cannot be put together, or two weights would have one name.
    """
    official: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not _HF_QKV.fullmatch(name):
            known = _from_hugging_face_name(name)
            if known in official or (known != name and known in tensors):
                raise InputError(f"{path}: looks like Depth Anything V2, but holds {known} twice")
            official[known] = tensor
    width = token_width(shapes_of(official), "pretrained.", _SIZES)
    layers = {match[1] for name in tensors if (match := _HF_QKV.fullmatch(name))}
    attention = "backbone.encoder.layer.{}.attention.attention.{}.{}"
    parts = {
        f"pretrained.blocks.{layer}.attn.qkv.{kind}": [
            attention.format(layer, part, kind) for part in ("query", "key", "value")
        ]
        for layer in layers
        for kind in ("weight", "bias")
    }
    given = {name: shape for name, shape in shapes_of(tensors).items() if _HF_QKV.fullmatch(name)}
    shapes = {"weight": (width, width), "bias": (width,)}
    if misfit := misfits(given, {n: shapes[n.rpartition(".")[2]] for three in parts.values() for n in three}):
        raise InputError(f"{path}: looks like Depth Anything V2 as Hugging Face has it, but {misfit}")
    return official | {name: torch.cat([tensors[n] for n in three]) for name, three in parts.items()}


def _from_hugging_face_name(name: str) -> str:
    if match := _HF_REDUCE.fullmatch(name):
        return f"depth_head.scratch.layer{int(match[1]) + 1}_rn.weight"
    if match := _HF_FUSION.fullmatch(name):  # coarse to fine there, by the number of the map here
        inner = match[2].replace("projection.", "out_conv.")
        inner = inner.replace("residual_layer", "resConfUnit").replace("convolution", "conv")
        return f"depth_head.scratch.refinenet{4 - int(match[1])}.{inner}"
    for pattern, official in _HUGGING_FACE:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, official, name)
    return name
