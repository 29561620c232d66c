"""From weights to a `VideoDepth`: strictly, with its attention over time in the form asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.family import LoadOptions
from vmdepth.official.shapes import check_shapes, network_shapes, shapes_of
from vmdepth_runtime.errors import InputError


class NoAttentionOverTime(InputError):
    """A form of attention over time was asked of a network that has none."""


def video_network(
    path: Path, tensors: Mapping[str, Tensor], config: NetworkConfig, name: str, options: LoadOptions
) -> VideoDepth:
    """The network of `config` with these weights, float32, in eval mode.

    Args:
        path: of the file, for errors.
        tensors: weights under the names of `VideoDepth`.
        config: of the network, its attention over time in the form that the family has.
        name: what the network is called from now on.
        options: temporal and window are looked at.

    Raises:
        InputError: weights that are not exactly the network's, and forms it cannot have.
    """
    config = _in_form(path, config, options)
    check_shapes(path, shapes_of(tensors), network_shapes(config), f"its network '{name}'")
    model = VideoDepth(config)
    model.load_state_dict(tensors)
    model.name = name
    return model.float().eval()


def _in_form(path: Path, config: NetworkConfig, options: LoadOptions) -> NetworkConfig:
    """The same network with its attention over time in another form."""
    if options.temporal is None and options.window is None:
        return config
    head = config.head
    if not isinstance(head, AttentionSettings):
        raise NoAttentionOverTime(f"{path}: has no attention over time; temporal and window do not apply")
    try:
        head = AttentionSettings(
            head.temporal if options.temporal is None else options.temporal,
            head.window if options.window is None else options.window,
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if options.window is not None and head.temporal != "causal":
        raise InputError(f"{path}: a window belongs to temporal='causal', not to '{head.temporal}'")
    return replace(config, head=head)
