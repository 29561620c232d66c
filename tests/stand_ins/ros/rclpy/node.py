"""Nodes, and what they make."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from generated_messages import from_cdr, message_class, to_cdr

from rclpy._world import WORLD
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy


class Node:
    """Of this process. One that takes parameters by itself is the one that was started, which is remapped."""

    def __init__(self, node_name: str, started: bool) -> None:
        assert WORLD.up, "cannot create node"
        self._name = WORLD.names.get("__node", node_name) if started else node_name
        self._namespace = WORLD.names.get("__ns", "") if started else ""
        self._remaps = WORLD.remaps if started else []
        describe = message_class("rcl_interfaces/msg/ParameterDescriptor")
        self._parameters: dict[str, Parameter] = {}
        self._descriptors: dict[str, Any] = {}
        for name, value in {"use_sim_time": False, **WORLD.overrides}.items() if started else ():
            self.declare_parameter(name, value, describe())
        self._subscriptions: list[Subscription] = []
        self._timers: list[Timer] = []

    @property
    def context(self) -> Context:
        """What the node belongs to."""
        return Context()

    def get_logger(self) -> Logger:
        """Where it tells things."""
        return Logger()

    def resolve_topic_name(self, topic: str, *, only_expand: bool = False) -> str:
        """A topic's full name, remapped."""
        if " " in topic:
            raise RuntimeError(f"Failed to resolve name '{topic}': Topic name is invalid")  # rclpy's own RCLError
        expanded = self._expand(topic)
        for before, after in self._remaps:
            if not only_expand and self._expand(before) == expanded:
                return self._expand(after)
        return expanded

    def _expand(self, topic: str) -> str:
        if topic.startswith("~/"):
            return f"{self._namespace}/{self._name}/{topic[2:]}"
        return topic if topic.startswith("/") else f"{self._namespace}/{topic}"

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: QoSProfile | int) -> Publisher:
        """For messages of a type."""
        name = self.resolve_topic_name(topic)
        with WORLD.changed:
            WORLD.types.setdefault(name, []).append(msg_type._name)
        return Publisher(msg_type, name, _profile(qos_profile))

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[Any], None], qos_profile: QoSProfile | int
    ) -> Subscription:
        """Likewise."""
        subscription = Subscription(msg_type, callback, _profile(qos_profile))
        with WORLD.changed:
            WORLD.subscriptions.setdefault(self.resolve_topic_name(topic), []).append(subscription)
        self._subscriptions.append(subscription)
        return subscription

    def create_timer(self, timer_period_sec: float, callback: Callable[[], None]) -> Timer:
        """One that goes off again and again."""
        self._timers.append(Timer(timer_period_sec, callback))
        return self._timers[-1]

    def get_topic_names_and_types(self, no_demangle: bool = False) -> list[tuple[str, list[str]]]:
        """Of all topics that somebody publishes."""
        return list(WORLD.types.items())

    def get_parameters_by_prefix(self, prefix: str) -> dict[str, Parameter]:
        """Of the empty one, all that are declared."""
        assert not prefix
        return dict(self._parameters)

    def declare_parameter(self, name: str, value: Any, descriptor: Any, ignore_override: bool = False) -> Parameter:
        """Of a type, or of any where the descriptor says so."""
        assert name not in self._parameters, f"already declared: {name}"
        assert value is not None or descriptor.dynamic_typing, "Cannot declare a statically typed parameter of no type"
        if not ignore_override:
            value = WORLD.overrides.get(name, value)
        self._parameters[name], self._descriptors[name] = Parameter(name, value), descriptor
        return self._parameters[name]

    def undeclare_parameter(self, name: str) -> None:
        """One that may be written."""
        assert not self._descriptors[name].read_only, f"immutable: {name}"
        del self._parameters[name], self._descriptors[name]

    def get_parameter(self, name: str) -> Parameter:
        """One that is declared."""
        return self._parameters[name]

    def describe_parameter(self, name: str) -> Any:
        """What was said of it."""
        return self._descriptors[name]

    def destroy_node(self) -> None:
        """It listens no more."""
        with WORLD.changed:
            for listeners in WORLD.subscriptions.values():
                listeners[:] = [listener for listener in listeners if listener not in self._subscriptions]

    def _ready(self) -> list[Callable[[], None]]:
        """What an executor has to call now."""
        messages = [
            partial(one.callback, from_cdr(data, one.msg_type)) for one in self._subscriptions for data in one.taken()
        ]
        return [*messages, *(timer.callback for timer in self._timers if timer.goes_off())]


class Context:
    """The only one."""

    def ok(self) -> bool:
        """Whether it is up."""
        return WORLD.up


class Logger:
    """As of a node; what it is told is kept for the test."""

    def info(self, message: str) -> None:
        """Good to know."""
        WORLD.said.append(("info", message))

    def warning(self, message: str) -> None:
        """Better known."""
        WORLD.said.append(("warning", message))


class Publisher:
    """Of a topic."""

    def __init__(self, msg_type: Any, topic: str, profile: QoSProfile) -> None:
        self._msg_type, self._topic, self._profile = msg_type, topic, profile

    def publish(self, msg: Any) -> None:
        """To all who listen and ask for no more than there is."""
        assert isinstance(msg, self._msg_type), f"Expected {self._msg_type}, got {type(msg)}"
        data = to_cdr(msg)
        with WORLD.changed:
            if not WORLD.up:
                raise RuntimeError("Failed to publish: publisher's context is invalid")  # rclpy's own RCLError
            for listener in self._listeners():
                listener.waiting.append(data)
            WORLD.changed.notify_all()

    def get_subscription_count(self) -> int:
        """How many those are."""
        with WORLD.changed:
            return len(self._listeners())

    def _listeners(self) -> list[Subscription]:
        best = self._profile.reliability == ReliabilityPolicy.BEST_EFFORT
        return [
            listener
            for listener in WORLD.subscriptions.get(self._topic, [])
            if listener.msg_type is self._msg_type
            and not (best and listener.profile.reliability == ReliabilityPolicy.RELIABLE)
        ]


class Subscription:
    """Of a topic: what came for it and was not yet called for."""

    def __init__(self, msg_type: Any, callback: Callable[[Any], None], profile: QoSProfile) -> None:
        self.msg_type, self.callback, self.profile = msg_type, callback, profile
        self.waiting: deque[bytes] = deque(maxlen=profile.depth)

    def taken(self) -> list[bytes]:
        """All of it."""
        messages = list(self.waiting)
        self.waiting.clear()
        return messages


class Timer:
    """Of a node."""

    def __init__(self, period: float, callback: Callable[[], None]) -> None:
        self.callback, self._period, self._next = callback, period, time.monotonic() + period

    def goes_off(self) -> bool:
        """Whether it is time."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._period
        return True

    def cancel(self) -> None:
        """It goes off no more."""
        self._next = float("inf")


def _profile(given: QoSProfile | int) -> QoSProfile:
    return given if isinstance(given, QoSProfile) else QoSProfile(depth=given)
