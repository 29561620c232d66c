"""What the nodes of this process share: whether ROS is up, how it was started, who listens to what."""

from __future__ import annotations

from threading import Condition
from typing import Any

import yaml


class World:
    """Of one `rclpy.init`.

    Attributes:
        up: between `init` and the shutdown.
        changed: guards all of it.
        remaps: topics, as expanded → as they are to be called.
        names: of `__node` and `__ns`.
        overrides: of parameters.
        subscriptions: by topic.
        types: of topics, as they were first used by a publisher.
        said: what nodes logged: severity and line.
    """

    def __init__(self) -> None:
        self.changed = Condition()
        self.up = False
        self.begin([])

    def begin(self, arguments: list[str]) -> None:
        """Take ROS's arguments: remappings (-r) and parameters (-p)."""
        self.remaps: list[tuple[str, str]] = []
        self.names: dict[str, str] = {}
        self.overrides: dict[str, Any] = {}
        self.subscriptions: dict[str, list[Any]] = {}
        self.types: dict[str, list[str]] = {}
        self.said: list[tuple[str, str]] = []
        words = iter(arguments[arguments.index("--ros-args") + 1 :] if "--ros-args" in arguments else [])
        for word in words:
            if word == "--":
                return
            if word not in ("-r", "-p"):
                raise RuntimeError(f"Failed to parse global arguments\nunknown: {word}")
            name, mark, value = next(words).partition(":=")
            if not mark:
                raise RuntimeError(f"Couldn't parse {word}: '{word} {name}'. Error: no :=")
            if word == "-p":
                self.overrides[name] = yaml.safe_load(value) if value else ""
            elif name.startswith("__"):
                self.names[name] = value
            else:
                self.remaps.append((name, value))


WORLD = World()
