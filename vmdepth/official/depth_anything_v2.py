"""Checkpoints of Depth Anything V2 (Yang et al. 2024), relative and metric, official or as Hugging Face has them."""

from __future__ import annotations

import json
from dataclasses import replace

from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official import hugging_face
from vmdepth.official.dpt_names import LETTERS, encoder_size, official_shapes, our_weights
from vmdepth.official.family import CheckpointFile, Family, LoadOptions
from vmdepth.official.shapes import check_shapes, shapes_of
from vmdepth.official.video_networks import video_network
from vmdepth_runtime.errors import InputError

# Metres, by what the official files are called, and the folders of Hugging Face's.
_MAX_DEPTH = {"metric_hypersim": 20.0, "metric_vkitti": 80.0, "metric-indoor": 20.0, "metric-outdoor": 80.0}


def network_config(file: CheckpointFile, options: LoadOptions) -> NetworkConfig:
    """The network that a recognised file is of; metric as it is told or called.

    Raises:
        InputError: options that contradict each other, or a metric network of unknown reach.
    """
    size = encoder_size(hugging_face.shapes_by_official_names(file.shapes))
    assert size is not None
    config = replace(PRESETS[size], output="relu", head=NoHead(), taps=())
    max_depth = options.max_depth
    if options.metric is False and max_depth is not None:
        raise InputError(f"{file.path}: metric=False and max_depth={max_depth:g} contradict each other")
    if max_depth is None and options.metric is not False:
        max_depth = _published_max_depth(file)
    if options.metric and max_depth is None:
        raise InputError(f"{file.path}: say how many metres this metric network reaches, for example max_depth=20")
    return config if max_depth is None else replace(config, output="sigmoid", depth="metric", max_depth=max_depth)


def network_name(config: NetworkConfig) -> str:
    """What the official file of a network is called, without its ending and what a metric one was trained on."""
    return f"depth_anything_v2_{'metric_' if config.depth == 'metric' else ''}vit{LETTERS[config.encoder]}"


def _published_max_depth(file: CheckpointFile) -> float | None:
    """Metres a metric network reaches, by its official names or Hugging Face's settings beside it."""
    for part, metres in _MAX_DEPTH.items():
        if part in file.location:
            return metres
    try:
        settings = json.loads(file.path.with_name("config.json").read_text())
        return float(settings["max_depth"]) if settings["depth_estimation_type"] == "metric" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _recognises(file: CheckpointFile) -> bool:
    shapes = hugging_face.shapes_by_official_names(file.shapes)
    return encoder_size(shapes) is not None and any(name.startswith("depth_head.") for name in shapes)


def _build(file: CheckpointFile, options: LoadOptions) -> VideoDepth:
    tensors = hugging_face.official_tensors(file.path, file.tensors)
    config = network_config(file, options)
    check_shapes(file.path, shapes_of(tensors), official_shapes(config), f"Depth Anything V2 {config.encoder}")
    return video_network(file.path, our_weights(tensors), config, network_name(config), options)


DEPTH_ANYTHING_V2 = Family("Depth Anything V2", _recognises, _build)
