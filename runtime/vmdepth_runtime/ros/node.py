"""The node: what it listens to, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.errors import InputError, MissingLibrary, told_by
from vmdepth_runtime.ros.arrivals import Arrivals
from vmdepth_runtime.ros.depth_node import DepthNode
from vmdepth_runtime.ros.settings import RosSettings
from vmdepth_runtime.sessions.given_model import open_model

NAME = "vmdepth"

_SETUP = "source /opt/ros/<distribution>/setup.bash"
_ENVIRONMENT = "an environment made with '/usr/bin/python3 -m venv --system-site-packages'"


@contextmanager
def open_node(arguments: Sequence[str] = ()) -> Iterator[Any]:
    """A node of rclpy, its parameters declared as it was started; ROS itself is begun and ended.

    Args:
        arguments: for ROS: `--ros-args` and what follows.

    Raises:
        MissingLibrary: there is no ROS 2, or one of another Python.
        InputError: ROS does not take the arguments.
    """
    rclpy = _import_ros()
    try:
        rclpy.init(args=["vmdepth-ros", *arguments])
    except Exception as error:
        raise InputError(f"ROS does not take its arguments: {told_by(error)}") from None
    try:
        node = rclpy.create_node(NAME, automatically_declare_parameters_from_overrides=True)
        try:
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def run_node(node: Any, settings: RosSettings) -> None:
    """Give depth for what comes on the camera's topic, as `vmdepth-ros` does, until ROS is shut down or Ctrl-C comes.

    ```python
    # needs ROS 2
    from vmdepth_runtime.ros.node import open_node, run_node
    from vmdepth_runtime.ros.settings import RosSettings

    with open_node() as node:
        run_node(node, RosSettings(image="/camera/image_raw", max_gap=1.0))
    ```

    Args:
        node: of rclpy; nothing else spins it.
        settings: what it listens to, and how.

    Raises:
        InputError: for a model or a camera that does not do, and pictures that cannot be read at all.
        WorkError: the network failed.
    """
    lens = Lens.of(settings.fov, settings.intrinsics)
    session = open_model(
        settings.model,
        settings.input_size,
        threads=settings.threads,
        device=settings.device,
        verify=settings.verify,
        dynamic_mask=bool(settings.dynamic_mask),
    )
    try:
        contract = session.contract
        if contract.streams != 1:
            raise InputError(f"{settings.model}: made for {contract.streams} streams at once, and a node has one")
        depth_node = DepthNode(node, settings, session, lens)
        with suppress(KeyboardInterrupt), _listening(node, depth_node.arrived):
            try:
                depth_node.run()
            except Exception:
                if node.context.ok():
                    raise  # else ROS was shut down while a picture was on its way through, and nobody can be told
        depth_node.tell_the_end()
    finally:
        session.close()


def _import_ros() -> Any:
    try:
        import rclpy
        import sensor_msgs.msg  # noqa: F401
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name in ("rclpy", "sensor_msgs"):
            line = f"{missing} of ROS 2 is not here, and pip does not have it; run '{_SETUP}' in this shell first"
        else:  # its compiled part is made for one Python, and takes libraries of the system
            why = told_by(error)
            line = f"ROS 2 does not load in this Python ({why}); install vmdepth where it does: {_ENVIRONMENT}"
        raise MissingLibrary(line) from None
    return rclpy


@contextmanager
def _listening(node: Any, arrived: Arrivals) -> Iterator[None]:
    """While it is open, a thread takes what ROS brings. Once ROS is shut down nothing arrives any more.

    Raises what a callback raised.
    """
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failures: list[Exception] = []
    ending = False

    def listen() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:  # whoever waits for pictures is to know
            if not ending:
                failures.append(error)
        finally:
            arrived.close()

    thread = Thread(target=listen, name="ros", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending = True
        executor.shutdown(timeout_sec=1.0)
        thread.join(timeout=2.0)
    if failures:
        raise failures[0]
