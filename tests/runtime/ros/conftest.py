"""ROS 2 by a stand-in, and a robot in it that has a camera and listens to depth."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

STAND_INS = Path(__file__).parents[2] / "stand_ins" / "ros"
PACKAGES = ("rclpy", "sensor_msgs", "std_msgs", "builtin_interfaces", "rcl_interfaces", "generated_messages")
K = [40.0, 0.0, 20.5, 0.0, 40.0, 13.5, 0.0, 0.0, 1.0]
SECOND = 10**9
START = 1_700_000_000 * SECOND + 123_456_789


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


@pytest.fixture
def rclpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in, for this test alone."""
    monkeypatch.syspath_prepend(str(STAND_INS))
    _forget()
    import rclpy as module

    yield module
    module.try_shutdown()
    _forget()


class Robot:
    """A node beside the one that is tested: publishes a camera, hears what comes of it.

    Attributes:
        heard: by topic, the messages that came.
    """

    def __init__(self, rclpy: Any) -> None:
        import sensor_msgs.msg as messages

        self.messages = messages
        self.node = rclpy.create_node("robot")
        self.heard: dict[str, list[Any]] = {}
        self._publishers: dict[str, Any] = {}
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

        def spin() -> None:
            with suppress(ExternalShutdownException):
                self._executor.spin()

        self._thread = Thread(target=spin, daemon=True)
        self._thread.start()

    def listens(self, kind: Any, topic: str, qos: Any = 100) -> list[Any]:
        """Hear a topic from now on."""
        self.heard[topic] = []
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos)
        return self.heard[topic]

    def says(self, message: Any, topic: str, qos: Any = 10) -> None:
        """Publish to a topic, for the first time once somebody listens there."""
        if topic not in self._publishers:
            self._publishers[topic] = self.node.create_publisher(type(message), topic, qos)
            self.until(self._publishers[topic].get_subscription_count)
        self._publishers[topic].publish(message)

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for what other threads do."""
        end = time.monotonic() + 60
        while not (value := holds()):
            assert time.monotonic() < end, "it does not come"
            time.sleep(0.002)
        return value

    def picture(self, image: NDArray[np.uint8], stamp: int = START, encoding: str = "rgb8") -> Any:
        """An `Image` of pixels as they are stored, `[H, W]` or `[H, W, C]`."""
        from array import array

        pixels = np.ascontiguousarray(image)
        message = self.messages.Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
        message.step, message.data = pixels.strides[0], array("B", pixels.tobytes())
        return self._stamped(message, stamp)

    def camera(self, width: int = 42, height: int = 28, k: list[float] = K, **fields: Any) -> Any:
        """A `CameraInfo`."""
        info = self.messages.CameraInfo(width=width, height=height, k=k, **fields)
        return self._stamped(info, START)

    def _stamped(self, message: Any, stamp: int) -> Any:
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND)
        message.header.frame_id = "front_optical"
        return message

    def close(self) -> None:
        """Hear no more."""
        self._executor.shutdown()
        self._thread.join()


class Running:
    """`vmdepth-ros` in a thread, with the small model, and a robot beside it."""

    def __init__(self, rclpy: Any, words: list[str]) -> None:
        from vmdepth_runtime.ros.cli import command

        self.rclpy = rclpy
        self.failure: BaseException | None = None

        def run() -> None:
            try:
                command.main(args=words, prog_name="vmdepth-ros", standalone_mode=False)
            except BaseException as error:
                self.failure = error

        self._thread = Thread(target=run, daemon=True)
        self._thread.start()
        end = time.monotonic() + 60
        while not rclpy.ok() and self._thread.is_alive() and time.monotonic() < end:
            time.sleep(0.002)
        assert rclpy.ok(), self.failure
        self.robot = Robot(rclpy)

    @property
    def said(self) -> list[str]:
        """What the node logged."""
        from rclpy._world import WORLD

        return [line for _, line in WORLD.said]

    def waiting(self, topic: str) -> bool:
        """Whether a message of a topic has not reached its listeners."""
        from rclpy._world import WORLD

        return any(listener.waiting for listener in WORLD.subscriptions[topic])

    def ends(self) -> BaseException | None:
        """Wait until it has ended by itself; why."""
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        return self.failure

    def stop(self) -> None:
        """Shut ROS down, as a signal does."""
        self.rclpy.try_shutdown()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()


@pytest.fixture
def start(rclpy: ModuleType, luma_model: Path) -> Iterator[Callable[..., Running]]:
    """`start("--image", "/camera/image_raw")` starts the command."""
    running: list[Running] = []

    def begin(*words: str, model: Path = luma_model) -> Running:
        running.append(Running(rclpy, ["--model", str(model), *words]))
        return running[-1]

    yield begin
    for one in running:
        one.stop()
        one.robot.close()


@pytest.fixture
def images(make: Any) -> NDArray[np.uint8]:
    """Five of the model's own size, so that nothing is resized."""
    return make.noise(5, 28, 42)
