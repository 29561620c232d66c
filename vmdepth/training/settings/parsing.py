"""From words of the command line and files to settings of `vmdepth-train`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from vmdepth.causal import causal_anyway, form_of
from vmdepth.networks.heads.kinds import KINDS, setting_types
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.networks.presets import PRESETS
from vmdepth.training.settings.checks import checked
from vmdepth.training.settings.presets import START_PRESETS
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.students import STUDENTS
from vmdepth_runtime.errors import InputError


def parse_settings(start: str, overrides: Sequence[str]) -> TrainSettings:
    """Settings from a preset's name or a file (neither: the default preset), then `key=value` overrides.

    start: may be the first override. Raises InputError for an unknown preset, file, key (with the nearest that exists)
    or value.
    """
    return settings_of(given_values(start, overrides))


def given_values(start: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What the command was told, by the names of settings, not yet looked at. Raises InputError where it is unclear."""
    values: dict[str, Any] = {}
    if "=" in start:
        start, overrides = "", [start, *overrides]
    if start in START_PRESETS:
        values |= START_PRESETS[start].values
    elif start.endswith((".yaml", ".yml", ".json")):
        values |= _read_file(Path(start))
    elif start:
        way_out = (
            "go on with it by --resume" if Path(start).is_dir() else "or name a .yaml file, or a run's settings.json"
        )
        raise InputError(f"preset '{start}': there are {', '.join(START_PRESETS)}; {way_out}")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"'{override}': settings are given as key=value")
        values[key] = text
    return values


def in_form(values: Mapping[str, Any], causal: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Such values with `temporal` as `--causal` or `--no-causal` has it.

    warn: gets a line where the network is causal anyway. Raises InputError where it has no other form.
    """
    preset, head = values.get("preset", TrainSettings.preset), values.get("head", "")
    if isinstance(STUDENTS.get(preset), CausalViewsConfig):
        if causal:
            return dict(values)
        raise InputError(f"preset '{preset}': is what learns the causal mask; leave --no-causal out")
    kind = head or (PRESETS[preset].head.kind if preset in PRESETS else "")
    if kind not in KINDS or "temporal" in (f.name for f in fields(KINDS[kind])):  # of none is told later
        return {**values, "temporal": form_of(causal)}
    network = causal_anyway(f"preset '{preset}' with head={kind}")
    if not causal:
        raise InputError(f"{network}; leave --no-causal out, or take head=attention")
    warn(network)
    return dict(values)


def settings_of(values: Mapping[str, Any]) -> TrainSettings:
    """The settings of such values, all others as they are by default. Raises InputError for what cannot be."""
    own = {f.name: type(f.default) for f in fields(TrainSettings) if f.name != "head_settings"}
    own["freeze_encoder"] = bool
    heads = setting_types()
    given = {key: value for key, value in values.items() if key not in heads or value != ""}  # empty: the preset's
    typed = {key: _typed(key, value, own | heads) for key, value in given.items()}
    head_settings = {key: typed.pop(key) for key in heads if key in typed}
    return checked(TrainSettings(**typed, head_settings=head_settings))


def _read_file(path: Path) -> dict[str, Any]:
    import yaml  # which reads JSON, too

    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: should hold 'key: value' lines")
    return values


def _typed(key: str, value: Any, types: dict[str, type]) -> Any:
    if key not in types:
        near = difflib.get_close_matches(str(key), types, n=1, cutoff=0)
        raise InputError(f"unknown setting '{key}'; did you mean '{near[0]}'?")
    kind = types[key]
    if key == "freeze_encoder" and value in ("", None):
        return None
    if kind is tuple:
        return _numbers(key, value)
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and "://" in str(value):
        raise InputError(f"{key}={value}: is an address; download what is there, and name the file or folder")
    try:
        if kind is bool:
            raise ValueError
        return kind(float(value)) if kind is int and float(value).is_integer() else kind(value)
    except (TypeError, ValueError):
        raise InputError(f"{key}={value}: should be {'true or false' if kind is bool else kind.__name__}") from None


def _numbers(key: str, value: Any) -> tuple[int, ...]:
    """`2,1,1`, or a list of a YAML file."""
    parts = value if isinstance(value, list) else str(value).split(",")
    try:
        return tuple(int(str(part)) for part in parts)
    except ValueError:
        raise InputError(f"{key}={value}: should be whole numbers with commas between, for example 2,1,1") from None
