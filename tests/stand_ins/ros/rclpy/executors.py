"""What calls the callbacks of nodes."""

from __future__ import annotations

from typing import Any

from rclpy._world import WORLD


class ExternalShutdownException(Exception):
    """Context has been shutdown."""


class SingleThreadedExecutor:
    """One callback after the other, in the thread that spins."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._is_shutdown = False

    def add_node(self, node: Any) -> bool:
        """Its callbacks are called, too."""
        self._nodes.append(node)
        return True

    def spin(self) -> None:
        """Until the executor, or ROS, is shut down."""
        while not self._is_shutdown:
            with WORLD.changed:
                if not WORLD.up:
                    raise ExternalShutdownException
                ready = [work for node in self._nodes for work in node._ready()]
                if not ready:
                    WORLD.changed.wait(0.02)
            for work in ready:
                work()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop spinning."""
        with WORLD.changed:
            self._is_shutdown = True
            WORLD.changed.notify_all()
        return True
