"""Official checkpoints of Video Depth Anything (Chen et al. 2025), relative and metric."""

from __future__ import annotations

import re
from dataclasses import replace

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import PRESETS, VDA_TAPS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.dpt_names import LETTERS, encoder_size, official_shapes, our_weights
from vmdepth.official.family import CheckpointFile, Family, LoadOptions
from vmdepth.official.shapes import check_shapes
from vmdepth.official.video_networks import video_network
from vmdepth_runtime.errors import InputError


def network_config(file: CheckpointFile, options: LoadOptions) -> NetworkConfig:
    """The network that a recognised file is of, streaming by the official rule; metric as it is told or called."""
    size = encoder_size(file.shapes)
    assert size is not None
    metric = bool(re.search("metric[-_]video", file.location)) if options.metric is None else options.metric
    return replace(
        PRESETS[size],
        output="relu",
        depth="metric" if metric else "relative",
        head=AttentionSettings("streaming"),
        taps=VDA_TAPS,
    )


def network_name(config: NetworkConfig) -> str:
    """What the official file of a network is called, without its ending."""
    return f"{'metric_' if config.depth == 'metric' else ''}video_depth_anything_vit{LETTERS[config.encoder]}"


def _recognises(file: CheckpointFile) -> bool:
    return encoder_size(file.shapes) is not None and any(n.startswith("head.motion_modules.") for n in file.tensors)


def _build(file: CheckpointFile, options: LoadOptions) -> VideoDepth:
    config = network_config(file, options)
    network = f"Video Depth Anything {config.encoder}"
    if options.max_depth is not None:
        raise InputError(f"{file.path}: is {network}, which needs no max_depth: its metric form gives metres as it is")
    check_shapes(file.path, file.shapes, official_shapes(config), network)
    return video_network(file.path, our_weights(file.tensors), config, network_name(config), options)


VIDEO_DEPTH_ANYTHING = Family("Video Depth Anything", _recognises, _build)
