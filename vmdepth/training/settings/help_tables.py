"""Settings as `vmdepth-train --help` shows them: read from the dataclasses, where they are said once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from vmdepth.networks.heads.kinds import KINDS
from vmdepth.training.settings.presets import START_PRESETS
from vmdepth.training.settings.train_settings import TrainSettings


def help_tables() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Title and rows of every table: what there is, and what it is."""
    presets = []
    for name, preset in START_PRESETS.items():
        others = " ".join(f"{key}={_written(value)}" for key, value in preset.values.items() if key != "preset")
        presets.append((name, f"{preset.purpose} {f'It is {others}.' if others else ''}".rstrip()))
    yield "Presets", presets
    yield "Settings, with their defaults", _rows(TrainSettings)
    for kind in KINDS.values():
        if fields(kind):
            yield f"Settings of head={kind.kind}, where the preset has no others", _rows(kind)


def field_texts(kind: type) -> dict[str, str]:
    """Name → what the docstring says of it, for every entry below its "Attributes:", each on one line."""
    _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _rows(kind: type) -> list[tuple[str, str]]:
    texts = field_texts(kind)
    return [
        (f"{field.name}={_written(field.default)}", texts[field.name])
        for field in fields(kind)
        if field.name != "head_settings"
    ]


def _written(value: Any) -> str:
    """A value as it is given on the command line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
