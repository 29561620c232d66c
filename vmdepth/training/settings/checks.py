"""What settings of `vmdepth-train` can be: each by itself, and together."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import get_args

from vmdepth.data.rendering.photographs import find_photographs
from vmdepth.losses.affine import Fit
from vmdepth.networks.encoder import check_size
from vmdepth.networks.heads.kinds import owner
from vmdepth.networks.heads.scan_forms import ScanForm
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.students import STUDENTS, StudentConfig, heads_told
from vmdepth_runtime.errors import InputError

_SEEDS = 10**10  # each has 10^8 numbers for its clips, below 2^63
_ABOVE_0 = (
    "clip_length",
    "batch",
    "stride",
    "steps",
    "learning_rate",
    "encoder_rate",
    "heads_rate",
    "gradient_clip",
    "save_every",
    "picture_every",
)
_NOT_NEGATIVE = (
    "seed",
    "frozen_blocks",
    "warmup",
    "weight_decay",
    "chunk",
    "p_single_frame",
    "ema",
    "metric_weight",
    "gradient_weight",
    "temporal_weight",
    "smoothness_weight",
    "validate_every",
)


def checked(settings: TrainSettings) -> TrainSettings:
    """The same. Raises InputError for a setting, or settings together, that cannot be."""
    if settings.preset not in STUDENTS:
        raise InputError(f"preset '{settings.preset}': there are {', '.join(STUDENTS)}")
    network = _network(settings)
    _check_size(settings, network)
    if settings.textures:
        find_photographs(Path(settings.textures))
    _check_values(settings)
    longest = network.longest_clip
    if longest is not None and settings.clip_length > longest:
        raise InputError(f"clip_length={settings.clip_length}: the network sees {longest} frames at most")
    return settings


def _network(settings: TrainSettings) -> StudentConfig:
    """The network that is asked for. Raises InputError for one that cannot be."""
    try:
        if isinstance(STUDENTS[settings.preset], CausalViewsConfig):
            given = {**settings.head_settings, "head": settings.head, "taps": settings.taps}
            for key in (key for key, value in given.items() if value and key != "window"):
                raise InputError(f"preset '{settings.preset}': has no temporal heads; leave {key} out")
            return settings.network
        kind = settings.head_before
        for key in settings.head_settings:
            if key not in (f.name for f in fields(kind)):
                raise InputError(
                    f"{heads_told(settings.preset, settings.head)} has no {owner(key).title}; leave {key} out"
                )
        return settings.network
    except ValueError as error:
        raise InputError(str(error)) from None


def _check_size(settings: TrainSettings, network: StudentConfig) -> None:
    try:
        height, width = settings.height_width
    except ValueError:
        usual = "x".join(map(str, network.usual_size))
        raise InputError(f"size={settings.size}: should be HxW, for example {usual}") from None
    try:
        check_size(height, width, network.stride)
    except ValueError as error:
        raise InputError(f"preset '{settings.preset}': {error}") from None


def _check_values(settings: TrainSettings) -> None:
    """Raise InputError for a setting that is out of its range, whatever the others are."""
    for key, choices in (("fit", get_args(Fit)), ("precision", ("fp32", "bf16")), ("scan", get_args(ScanForm))):
        if getattr(settings, key) not in choices:
            raise InputError(f"{key}={getattr(settings, key)}: there are {', '.join(choices)}")
    for key in _ABOVE_0:
        if not getattr(settings, key) > 0:
            raise InputError(f"{key}={getattr(settings, key)}: must be above 0")
    for key in _NOT_NEGATIVE:
        if not getattr(settings, key) >= 0:
            raise InputError(f"{key}={getattr(settings, key)}: must not be negative")
    for key, value in settings.to_dict().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{key}={value}: must be finite")
    if settings.seed >= _SEEDS:
        raise InputError(f"seed={settings.seed}: must be below {_SEEDS}")
    for key in ("p_single_frame", "ema"):
        if getattr(settings, key) > 1:
            raise InputError(f"{key}={getattr(settings, key)}: must be from 0 to 1")
