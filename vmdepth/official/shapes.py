"""Names and shapes of weights: what a file gives against what a network needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]

_MOST_NAMED = 5  # misfits in one error


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name → shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def network_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name → shape of all weights of a `VideoDepth`."""
    with torch.device("meta"):
        return shapes_of(VideoDepth(config).state_dict())


def token_width(shapes: Shapes, encoder: str, known: Collection[int]) -> int:
    """Channels of a vision transformer's token, by the first of several weights that has a known width.

    Args:
        shapes: of a file.
        encoder: what the names of the encoder's weights begin with.
        known: widths that there are.

    Returns:
        One of `known`, or 0 where no such weight is there.
    """
    names = ("camera_token", "cls_token", "pos_embed", "norm.weight", "patch_embed.proj.bias")
    widths = (shapes[encoder + name][-1:] for name in names if encoder + name in shapes)
    return next((width for (*_, width) in widths if width in known), 0)


def check_shapes(path: Path, given: Shapes, expected: Shapes, network: str) -> None:
    """Raise InputError unless names and shapes are exactly those expected of `network`."""
    if misfit := misfits(given, expected):
        raise InputError(f"{path}: looks like {network}, but {misfit}")


def misfits(given: Shapes, expected: Shapes) -> str:
    """Where names and shapes differ, up to five of them in words; empty when they are the same."""
    misshapen = sorted(name for name in expected.keys() & given.keys() if given[name] != expected[name])
    problems = [f"{name} is missing" for name in sorted(expected.keys() - given.keys())]
    problems += [f"{name} does not belong to it" for name in sorted(given.keys() - expected.keys())]
    problems += [f"{name} is {list(given[name])} instead of {list(expected[name])}" for name in misshapen]
    more = f", and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return ", ".join(problems[:_MOST_NAMED]) + more
