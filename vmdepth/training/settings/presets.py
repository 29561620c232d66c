"""What `vmdepth-train` can start from by name: networks, and a whole run that is over in ten minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmdepth.networks.presets import PRESETS


@dataclass(frozen=True)
class StartPreset:
    """purpose: for `--help`. values: settings that differ from their defaults, by their names."""

    purpose: str
    values: Mapping[str, Any]


_PURPOSES = {
    "edge": "For CPUs, INT8 and small boards: the bundled model's network.",
    "tiny": "For trying the road of the larger ones.",
    "small": "For GPUs; with init=depth_anything_v2_vits.pth.",
    "base": "For GPUs; with init=depth_anything_v2_vitb.pth.",
    "large": "For GPUs; with init=depth_anything_v2_vitl.pth.",
    "giant": "For GPUs; with init=depth_anything_v2_vitg.pth.",
    "vda-small-causal": "Video Depth Anything made causal; with init=video_depth_anything_vits.pth.",
    "vda-base-causal": "The same, for GPUs; with init=video_depth_anything_vitb.pth.",
    "vda-large-causal": "The same, for GPUs; with init=video_depth_anything_vitl.pth.",
}

START_PRESETS = {name: StartPreset(_PURPOSES[name], {"preset": name}) for name in PRESETS} | {
    "da3-small-causal": StartPreset(
        "Depth Anything 3 made causal; with init=depth-anything/DA3-SMALL, the same as teacher=, and data= of videos.",
        {
            "preset": "da3-small-causal",
            "clip_length": 12,  # longer than the window, or the mask would hide the future alone
            "learning_rate": 1e-4,  # its blocks over views have learnt already, and are to learn little
        },
    ),
    "quick": StartPreset(
        "For a first look: network edge on small pictures, over in ten minutes on two quiet CPU cores.",
        {
            "preset": "edge",
            "size": "64x96",
            "clip_length": 4,
            "p_single_frame": 0.75,  # many worlds: from scratch it is pictures that it has to understand first
            "augment": False,
            "steps": 2000,
            "learning_rate": 2e-3,
            "warmup": 50,
            "ema": 0.99,
            "save_every": 100,
            "picture_every": 100,
            "validate_every": 100,
        },
    ),
}
