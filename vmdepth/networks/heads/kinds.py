"""The kinds of temporal heads by name. A new one is a module with its `HeadSettings`, and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import HeadSettings, NoHead
from vmdepth.networks.heads.mamba_head import MambaSettings

KINDS: dict[str, type[HeadSettings]] = {kind.kind: kind for kind in (MambaSettings, AttentionSettings, NoHead)}


def head_kind(name: str) -> type[HeadSettings]:
    """The kind of a name. Raises ValueError where there is none."""
    if name not in KINDS:
        raise ValueError(f"head '{name}': there are {', '.join(KINDS)}")
    return KINDS[name]


def setting_types() -> dict[str, type]:
    """Name → type of every setting of any kind."""
    return {field.name: type(field.default) for kind in KINDS.values() for field in fields(kind)}


def owner(setting: str) -> type[HeadSettings]:
    """The first kind that has a setting. Raises KeyError where none has."""
    for kind in KINDS.values():
        if setting in (field.name for field in fields(kind)):
            return kind
    raise KeyError(setting)


def head_from_dict(raw: Mapping[str, Any]) -> HeadSettings:
    """The inverse of `{"head": settings.kind, **asdict(settings)}`, also after a round trip through JSON.

    Settings of other kinds are left aside: files may hold those of all. Raises ValueError for a kind or a value that
    cannot be, TypeError for one of the wrong type.
    """
    kind = head_kind(raw["head"])
    names = [field.name for field in fields(kind)]
    return kind(**{name: _as_tuple(raw[name]) for name in names if name in raw})


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
