"""Official checkpoints of Depth Anything 3: for any number of views, mono, metric and nested.

Official names are those of our modules but for their beginnings. What the files hold and we never compute is checked
and left aside: levels 0 to 2 of the ray branch, and the giant's Gaussian head (`gs_head.*`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from vmdepth.networks.decoder import Pyramid, Scratch
from vmdepth.networks.encoder import ENCODERS
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import (
    METRIC,
    MONO,
    VIEW_PRESETS,
    WINDOW,
    AnyViewConfig,
    MonoConfig,
    NestedConfig,
)
from vmdepth.official.family import CheckpointFile, Family, LoadOptions, NoAttentionOverTime
from vmdepth.official.shapes import Shapes, check_shapes, shapes_of, token_width
from vmdepth_runtime.errors import InputError

Config = AnyViewConfig | MonoConfig | NestedConfig
Network = AnyViewDepth | MonoDepth | NestedDepth
Named = TypeVar("Named")  # a tensor, or its shape

PREFIX = "model."  # of every key in the published files
# Beginnings of names: ours and the official ones.
_NAMES = (
    ("encoder.", "backbone.pretrained."),
    ("decoder.", "head."),
    ("camera_encoder.", "cam_enc."),
    ("camera_decoder.", "cam_dec."),
)
_NESTED = {"views.": "da3.", "metric.": "da3_metric."}
_GAUSSIANS = "gs_head."
_WIDTHS = {size.width: name for name, size in ENCODERS.items()}
# One layer norm under four names, of which safetensors files keep the first only.
_SHARED = re.compile(r"(.*head\.scratch\.output_conv2_aux\.)0(\.2\.(?:weight|bias))")


def network_config(file: CheckpointFile, options: LoadOptions) -> Config:
    """The network that a recognised file is of; metric as it is told or called, since mono files have the same keys.

    Raises:
        InputError: metric is asked of a network for any number of views.
    """
    config = _config(_without_prefix(file.shapes))
    assert config is not None
    if isinstance(config, AnyViewConfig) and options.metric:
        raise InputError(f"{file.path}: is the {config.encoder} network for any number of views; it has no metric form")
    metric = "da3metric" in file.location if options.metric is None else options.metric
    return METRIC if metric and isinstance(config, MonoConfig) else config


def _config(shapes: Shapes) -> Config | None:
    """By beginnings of keys without their prefix; None where they are not those of Depth Anything 3."""
    if any(key.startswith(_NESTED["metric."]) for key in shapes):
        views = _any_view_config({key.removeprefix(_NESTED["views."]): shape for key, shape in shapes.items()})
        return NestedConfig(views, METRIC) if views is not None else None
    if any(key.startswith("head.scratch.sky_output_conv2.") for key in shapes) and _token_width(shapes) == 1024:
        return MONO
    return _any_view_config(shapes)


def _any_view_config(shapes: Shapes) -> AnyViewConfig | None:
    preset = VIEW_PRESETS.get(_WIDTHS.get(_token_width(shapes), ""))
    if preset is None:
        return None
    encoder, decoder = (any(key.startswith(name) for key in shapes) for name in ("cam_enc.", "cam_dec."))
    return replace(preset, camera_encoder=encoder, camera_decoder=decoder)


def _token_width(shapes: Shapes) -> int:
    return token_width(shapes, "backbone.pretrained.", _WIDTHS)


def _without_prefix(named: Mapping[str, Named]) -> dict[str, Named]:
    return {key.removeprefix(PREFIX): value for key, value in named.items()}


def _recognises(file: CheckpointFile) -> bool:
    return _config(_without_prefix(file.shapes)) is not None


def _build(file: CheckpointFile, options: LoadOptions) -> Network | CausalViews:
    """The network shares the tensors' memory."""
    if options.max_depth is not None:
        raise InputError(f"{file.path}: is Depth Anything 3; max_depth does not apply")
    config = network_config(file, options)
    if (options.temporal, options.window) == (None, None):
        return _network(file, config)
    if isinstance(config, MonoConfig):
        raise NoAttentionOverTime(
            f"{file.path}: is Depth Anything 3 {_called(config)}, which has no attention over "
            "views; temporal and window do not apply"
        )
    if (options.temporal, options.window) == ("bidirectional", None) and isinstance(config, AnyViewConfig):
        return _network(file, config)  # where all views of a call see each other
    if options.temporal != "causal":
        what = f"no temporal='{options.temporal}'" if options.temporal else "a window only with temporal='causal'"
        raise InputError(
            f"{file.path}: is Depth Anything 3, which has {what}: causal is how it streams; without, all views "
            "of a call see each other"
        )
    if not isinstance(config, AnyViewConfig):
        raise InputError(
            f"{file.path}: is Depth Anything 3 {_called(config)}, which has no causal form; the any-view networks have "
            "one"
        )
    network = _network(file, config)
    assert isinstance(network, AnyViewDepth)
    try:
        return CausalViews(network, WINDOW if options.window is None else options.window)
    except ValueError as error:
        raise InputError(f"{file.path}: {error}") from None


def _network(file: CheckpointFile, config: Config) -> Network:
    twice = [key for key in file.tensors if key.startswith(PREFIX) and key.removeprefix(PREFIX) in file.tensors]
    if twice:
        raise InputError(f"{file.path}: looks like Depth Anything 3, but holds {twice[0]} also without '{PREFIX}'")
    tensors = _with_shared(_without_prefix(file.tensors))
    with torch.device("meta"):
        network = empty(config)
    given = shapes_of(tensors)
    has_gaussians = any(_GAUSSIANS in name for name in given)  # a file without that head lacks nothing
    unused = {name: shape for name, shape in unused_shapes(network).items() if has_gaussians or _GAUSSIANS not in name}
    state, names = shapes_of(network.state_dict()), official_names(network)
    expected = {official: state[ours] for ours, official in names.items()} | unused
    check_shapes(file.path, given, expected, f"Depth Anything 3 {network.name}")
    network.load_state_dict({ours: tensors[official] for ours, official in names.items()}, assign=True)
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
            for (ours, official), part in zip(_NESTED.items(), parts, strict=True)
            for name, theirs in official_names(part).items()
        }
    return {name: _official_name(name) for name in network.state_dict()}


def unused_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Official name → shape of what the official files hold beside the weights of our network."""
    if isinstance(network, NestedDepth):
        return {f"{_NESTED['views.']}{name}": shape for name, shape in unused_shapes(network.views).items()}
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


def _with_shared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with the layer norm of the ray branch under all four names where only the first is there."""
    filled = dict(tensors)
    for key, tensor in tensors.items():
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


def _called(config: MonoConfig | NestedConfig) -> str:
    if isinstance(config, NestedConfig):
        return "nested, two networks whose metres come from all pixels of both"
    return f"{'metric' if config.metric else 'mono'}, a network for single images"


DEPTH_ANYTHING_3 = Family("Depth Anything 3", _recognises, _build)
