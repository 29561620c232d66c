"""The form of a description."""

from __future__ import annotations

Facts = list[tuple[str, str]]
"""Name and value, in the order in which they are shown; a name is empty where the one before goes on."""
