"""rclpy for tests: nodes of one process, whose messages cross as CDR. Its names and arguments are the real ones'."""

from __future__ import annotations

from typing import Any

from rclpy._world import WORLD


def init(*, args: list[str] | None = None) -> None:
    """Begin."""
    assert args is not None
    assert not WORLD.up, "Context.init() must only be called once"
    WORLD.begin(args)
    WORLD.up = True


def ok() -> bool:
    """Whether ROS is up."""
    return WORLD.up


def try_shutdown() -> None:
    """End, if it is up."""
    with WORLD.changed:
        WORLD.up = False
        WORLD.changed.notify_all()


def create_node(node_name: str, *, automatically_declare_parameters_from_overrides: bool = False) -> Any:
    """A node. Those of tests beside it take no part in remapping and parameters."""
    from rclpy.node import Node

    return Node(node_name, automatically_declare_parameters_from_overrides)
