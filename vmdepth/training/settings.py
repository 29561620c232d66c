"""Every setting of `vmdepth-train`, its default in sight."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.temporal_attention import TemporalForm
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """preset: the network, a name of `PRESETS`. size: HxW pixels. batch: clips per step, of clip_length frames each.

    temporal, window: form of attention over time, and frames a causal one sees; empty and 0 are the preset's.
    temporal_weight: of the temporal gradient loss beside the depth loss. init: a checkpoint whose weights to start
    from: of the same network, or of one without temporal heads, such as Depth Anything V2; freeze_encoder: whether its
    encoder stays as it is. seed: of the weights and of the clips; other seeds see other clips. device: "auto" takes a
    GPU where there is one.
    """

    preset: str = "tiny"
    temporal: str = ""
    window: int = 0
    size: str = "196x252"
    clip_length: int = 6
    batch: int = 4
    steps: int = 20_000
    learning_rate: float = 1e-3
    warmup: int = 300
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    temporal_weight: float = 1.0
    init: str = ""
    freeze_encoder: bool = False
    seed: int = 0
    save_every: int = 250
    picture_every: int = 250
    device: str = "auto"

    @property
    def network(self) -> NetworkConfig:
        """The preset, with its attention over time in the form asked for."""
        config = PRESETS[self.preset]
        temporal = cast(TemporalForm, self.temporal) if self.temporal else config.temporal
        return replace(config, temporal=temporal, window=self.window or config.window)

    @property
    def height_width(self) -> tuple[int, int]:
        height, _, width = self.size.partition("x")
        return int(height), int(width)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def parse_settings(start: str, overrides: Sequence[str]) -> TrainSettings:
    """Settings from a preset's name or a YAML file, then `key=value` overrides.

    Raises InputError for an unknown preset, file, key (with the nearest that exists) or value.
    """
    values: dict[str, Any] = {}
    if start in PRESETS:
        values["preset"] = start
    elif start.endswith((".yaml", ".yml")):
        values |= _read_yaml(Path(start))
    else:
        raise InputError(f"preset '{start}': there are {', '.join(PRESETS)}; or name a .yaml file")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"'{override}': settings are given as key=value")
        values[key] = text
    types = {f.name: type(f.default) for f in fields(TrainSettings)}
    typed = {key: _typed(key, value, types) for key, value in values.items()}
    return _checked(TrainSettings(**typed))


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: should hold 'key: value' lines")
    return values


def _typed(key: str, value: Any, types: dict[str, type]) -> Any:
    if key not in types:
        near = difflib.get_close_matches(key, types, n=1, cutoff=0)
        raise InputError(f"unknown setting '{key}'; did you mean '{near[0]}'?")
    kind = types[key]
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    try:
        if kind is bool:
            raise ValueError
        return kind(float(value)) if kind is int and float(value).is_integer() else kind(value)
    except (TypeError, ValueError):
        raise InputError(f"{key}={value}: should be {'true or false' if kind is bool else kind.__name__}") from None


def _checked(settings: TrainSettings) -> TrainSettings:
    if settings.preset not in PRESETS:
        raise InputError(f"preset '{settings.preset}': there are {', '.join(PRESETS)}")
    if (settings.temporal or settings.window) and PRESETS[settings.preset].head != "attention":
        raise InputError(f"preset '{settings.preset}' has no attention over time; leave temporal and window out")
    try:
        form = settings.network.temporal
    except ValueError as error:
        raise InputError(str(error)) from None
    if settings.window and form != "causal":
        raise InputError(f"window={settings.window}: belongs to temporal=causal, not to {form}")
    try:
        height, width = settings.height_width
    except ValueError:
        raise InputError(f"size={settings.size}: should be HxW, for example 196x252") from None
    if height <= 0 or width <= 0 or height % 14 or width % 14:
        raise InputError(f"size={settings.size}: both sides must be multiples of 14, for example 196x252")
    for key in ("clip_length", "batch", "steps", "learning_rate", "gradient_clip", "save_every", "picture_every"):
        if getattr(settings, key) <= 0:
            raise InputError(f"{key}={getattr(settings, key)}: must be above 0")
    return settings
