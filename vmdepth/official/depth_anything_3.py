"""Official Depth Anything 3 files: which network their keys belong to, and that network with their weights.

Official names are those of our modules but for their beginnings. What the files hold and we never compute is checked
and left aside: levels 0 to 2 of the ray branch, and the giant's Gaussian head (`gs_head.*`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vmdepth.networks.decoder import Pyramid, Scratch
from vmdepth.networks.encoder import ENCODERS
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import METRIC, MONO, VIEW_PRESETS, AnyViewConfig, MonoConfig, NestedConfig
from vmdepth.official.depth_anything import misfits, shapes_of, token_width

Config = AnyViewConfig | MonoConfig | NestedConfig
Network = AnyViewDepth | MonoDepth | NestedDepth
Shapes = Mapping[str, Sequence[int]]

PREFIX = "model."  # of every key in the published files
# Beginnings of names: ours and the official ones.
_NAMES = (
    ("encoder.", "backbone.pretrained."),
    ("decoder.", "head."),
    ("camera_encoder.", "cam_enc."),
    ("camera_decoder.", "cam_dec."),
)
_NESTED = (("views.", "da3."), ("metric.", "da3_metric."))
_GAUSSIANS = "gs_head."
_WIDTHS = {size.width: name for name, size in ENCODERS.items()}
# One layer norm under four names, of which safetensors files keep the first only.
_SHARED = re.compile(r"(.*head\.scratch\.output_conv2_aux\.)0(\.2\.(?:weight|bias))")


def recognise(shapes: Shapes) -> Config | None:
    """The network that official keys belong to, or None where they are not those of Depth Anything 3.

    It goes by beginnings of keys, so a file with missing weights is still recognised; `build` then says what is
    missing. Mono and metric files have the same keys: both give the mono network.
    """
    plain = {key.removeprefix(PREFIX): shape for key, shape in shapes.items()}
    if any(key.startswith(_NESTED[1][1]) for key in plain):
        views = _recognise_views({key.removeprefix("da3."): shape for key, shape in plain.items()})
        return NestedConfig(views, METRIC) if views is not None else None
    if any(key.startswith("head.scratch.sky_output_conv2.") for key in plain) and _width(plain) == 1024:
        return MONO
    return _recognise_views(plain)


def _recognise_views(plain: Shapes) -> AnyViewConfig | None:
    preset = VIEW_PRESETS.get(_WIDTHS.get(_width(plain), ""))
    if preset is None:
        return None
    encoder, decoder = (any(key.startswith(name) for key in plain) for name in ("cam_enc.", "cam_dec."))
    return replace(preset, camera_encoder=encoder, camera_decoder=decoder)


def _width(plain: Shapes) -> int:
    return token_width(plain, "backbone.pretrained.", _WIDTHS)


def build(tensors: Mapping[str, Tensor], metric: bool = False) -> Network:
    """The network of official tensors, with or without the prefix `model.`, in eval mode; it shares their memory.

    metric: the tensors of a mono network are those of the metric one, which the keys do not tell. Raises ValueError,
    naming up to five keys, where they are not exactly those of the network they look like.
    """
    config = recognise(shapes_of(tensors))
    if config is None:
        raise ValueError(f"not the weights of a Depth Anything 3 network: {', '.join(sorted(tensors)[:5])}")
    if metric and isinstance(config, MonoConfig):
        config = METRIC
    twice = [key for key in tensors if key.startswith(PREFIX) and key.removeprefix(PREFIX) in tensors]
    if twice:
        raise ValueError(f"looks like Depth Anything 3, but holds {twice[0]} also without '{PREFIX}'")
    plain = fill_shared({key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()})
    with torch.device("meta"):
        network = empty(config)
    _check(shapes_of(plain), network)
    weights = {ours: plain[official] for ours, official in official_names(network).items()}
    network.load_state_dict(weights, assign=True)
    return network.float().eval()


def empty(config: Config) -> Network:
    """The network before its weights."""
    if isinstance(config, NestedConfig):
        return NestedDepth(config)
    return MonoDepth(config) if isinstance(config, MonoConfig) else AnyViewDepth(config)


def official_names(network: Network) -> dict[str, str]:
    """Our name of every weight → its official name, without the prefix `model.`."""
    if isinstance(network, NestedDepth):
        parts: tuple[Network, Network] = (network.views, network.metric)
        return {
            f"{ours}{name}": f"{official}{theirs}"
            for (ours, official), part in zip(_NESTED, parts, strict=True)
            for name, theirs in official_names(part).items()
        }
    return {name: _official_name(name) for name in network.state_dict()}


def unused_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Official name → shape of what the official files hold beside the weights of our network."""
    if isinstance(network, NestedDepth):
        return {f"{_NESTED[0][1]}{name}": shape for name, shape in unused_shapes(network.views).items()}
    if isinstance(network, MonoDepth):
        return {}
    state = {_official_name(name): tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    levels = {
        re.sub(r"(_aux\.)3\.", rf"\g<1>{level}.", name): shape
        for name, shape in state.items()
        if re.search(r"output_conv[12]_aux\.3\.", name)
        for level in (0, 1, 2)
    }
    return levels | (_gaussian_shapes(network.config) if network.config.encoder == "giant" else {})


def fill_shared(plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with the layer norm of the ray branch under all four names where only the first is there."""
    filled = dict(plain)
    for key, tensor in plain.items():
        if _SHARED.fullmatch(key):
            for level in "123":
                filled.setdefault(_SHARED.sub(rf"\g<1>{level}\g<2>", key), tensor)
    return filled


def _official_name(name: str) -> str:
    ours, official = next((ours, official) for ours, official in _NAMES if name.startswith(ours))
    return official + name.removeprefix(ours)


def _gaussian_shapes(config: AnyViewConfig) -> dict[str, tuple[int, ...]]:
    """Of the giant's head for 3-D Gaussians (38 numbers per pixel), which is not part of our network."""
    with torch.device("meta"):
        scratch = Scratch(config.features, config.out_channels, outputs=38)
        head = Pyramid(2 * ENCODERS[config.encoder].width, config.out_channels, scratch)
    shapes = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    for index, (before, after) in zip((0, 2, 4), ((3, 32), (32, 64), (64, 128)), strict=True):
        shapes[f"images_merger.{index}.weight"] = (after, before, 3, 3)
        shapes[f"images_merger.{index}.bias"] = (after,)
    return {f"{_GAUSSIANS}{name}": shape for name, shape in shapes.items()}


def _check(given: Mapping[str, tuple[int, ...]], network: Network) -> None:
    """Raises ValueError where official names and shapes are not exactly those of the network and its unused parts."""
    state = network.state_dict()
    unused = unused_shapes(network)
    if not any(_GAUSSIANS in name for name in given):  # a file without that head lacks nothing
        unused = {name: shape for name, shape in unused.items() if _GAUSSIANS not in name}
    expected = {theirs: tuple(state[ours].shape) for ours, theirs in official_names(network).items()} | unused
    if misfit := misfits(given, expected):
        raise ValueError(f"looks like Depth Anything 3 {network.name}, but {misfit}")
