"""From weights to a causal network of views: strictly, with its mask on or off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.official.family import LoadOptions
from vmdepth.official.shapes import check_shapes, shapes_of
from vmdepth_runtime.errors import InputError


def causal_network(
    path: Path, tensors: Mapping[str, Tensor], config: CausalViewsConfig, name: str, options: LoadOptions
) -> CausalViews | AnyViewDepth:
    """The network of `config` with these weights, float32, in eval mode.

    Args:
        path: of the file, for errors.
        tensors: weights under the names of `CausalViews`.
        config: of the network, with the window that it learnt.
        name: what the network is called from now on.
        options: temporal and window are looked at; "bidirectional" takes the mask off.

    Raises:
        InputError: weights that are not exactly the network's, and forms it cannot have.
    """
    if options.temporal not in (None, "causal", "bidirectional"):
        raise InputError(f"{path}: has no temporal='{options.temporal}'; there are causal and bidirectional")
    if options.temporal == "bidirectional" and options.window is not None:
        raise InputError(f"{path}: a window belongs to temporal='causal', not to 'bidirectional'")
    try:
        config = config if options.window is None else replace(config, window=options.window)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    with torch.device("meta"):
        network = AnyViewDepth(config.views)
    check_shapes(path, shapes_of(tensors), shapes_of(network.state_dict()), f"its network '{name}'")
    network.load_state_dict(tensors, assign=True)
    model = network if options.temporal == "bidirectional" else CausalViews(network, config.window)
    model.name = name
    return model.float().eval()
