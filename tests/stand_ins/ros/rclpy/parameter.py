"""A parameter of a node."""

from __future__ import annotations

from array import array
from typing import Any


class Parameter:
    """Its name and value."""

    def __init__(self, name: str, value: Any = None) -> None:
        assert value is None or isinstance(value, (bool, int, float, str, list, array)), f"no parameter: {value!r}"
        self.name, self.value = name, value
