"""Live depth for Foxglove: a server of its WebSocket protocol, with its own messages."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Condition, Thread
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.encoding import ros_messages
from vmdepth_runtime.encoding.pictures import picture
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.base import StepOutputs
from vmdepth_runtime.sinks.address import host_and_port, is_loopback
from vmdepth_runtime.sinks.base import Sink, SinkFacts
from vmdepth_runtime.sinks.clouds import CLOUD_OUTPUTS, Clouds
from vmdepth_runtime.sources.base import SourceFrame
from vmdepth_runtime.sources.uri import scheme_of

FIGURES_TOPIC = "/vmdepth/figures"
TRANSFORM_TOPIC = "/tf"
UPRIGHT_FRAME = "vmdepth"
"""x forward, z up: what a 3D view takes a world to be. The camera looks along x of it."""

_KANNALA_BRANDT = "kannala_brandt"  # what Foxglove calls the fisheye that ROS calls "equidistant"
_PATIENCE = 1.0  # seconds that viewers have at the end for what they have not taken yet
_BACKLOG = 16  # messages that a slow viewer may be behind: two frames or so, each of which may be megabytes
# From x right, y down, z forward of a camera to x forward, y left, z up (REP 103).
_UPRIGHT = {"x": -0.5, "y": 0.5, "z": -0.5, "w": 0.5}
_POINT = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z")] + [(name, "u1") for name in ("red", "green", "blue", "alpha")]
)


class _Shown(NamedTuple):
    """What messages of one frame are made of. anew: whether the stream started anew with it, or with one before it that
    was not shown. first: whether the states before it were none, so that nothing can be said of their change."""

    frame: SourceFrame
    depth: NDArray[np.float32]
    colour: NDArray[np.uint8]
    outputs: StepOutputs
    stamp: int
    anew: bool
    first: bool


class FoxgloveSink(Sink):
    """Serves coloured depth, colour and figures; depth itself where it is in metres; where the camera is known that,
    and points, of relative depth on the scale of what came since the latest discontinuity. Each is made only where a
    viewer wants it, in a thread of its own and of the newest frame: nobody holds the run up, nor other outputs, and a
    viewer that is too slow misses some."""

    example = "foxglove://127.0.0.1:8765"
    remark = "live, for Foxglove"
    address = f"a live view is foxglove://HOST:PORT, for example {example}"
    takes_camera = True
    has_clouds = True
    needs_range = True
    wants_colour = True
    for_eyes = True
    draws = ("state_change", *CLOUD_OUTPUTS)

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self._kind = facts.depth_meaning
        self.wants_depth = self._kind.unit == "m" or facts.lens is not None
        self._clouds = Clouds(facts) if facts.lens is not None else None
        self._foxglove = load_foxglove()
        self._context = self._foxglove.Context()
        host, port = _address_of(self.name)
        try:
            self._server = self._foxglove.start_server(
                name="vmdepth", host=host, port=port, context=self._context, message_backlog_size=_BACKLOG
            )
        except RuntimeError as error:
            reason = str(error).removeprefix("FoxgloveError: ")
            raise InputError(f"{target}: cannot be served ({reason}); choose another port") from None
        shown = f"[{host}]" if ":" in host else host
        self.invitation = f"in Foxglove open a connection to ws://{shown}:{self._server.port}"
        self._publications = self._published()
        self._changed = Condition()
        self._newest: _Shown | None = None
        self._over = self._anew = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="foxglove", daemon=True)
        self._thread.start()

    @classmethod
    def accepts(cls, target: str) -> bool:
        return scheme_of(target) == "foxglove"

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        _address_of(target)
        load_foxglove()

    @property
    def watched(self) -> bool:
        return any(channel.has_sinks() for channel, _ in self._publications)

    def close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE)
        # It waits for what viewers have not taken yet: for ever, where one takes nothing.
        stopping = Thread(target=self._server.stop, name="foxglove server", daemon=True)
        stopping.start()
        stopping.join(_PATIENCE)
        for channel, _ in self._publications:
            channel.close()
        if self._error is not None:
            raise self._error

    def pass_by(self, frame: SourceFrame) -> None:
        super().pass_by(frame)
        self._anew |= frame.discontinuity

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        outputs = {name: np.copy(array) for name, array in self.outputs.items()}
        with self._changed:
            if self._error is not None:
                raise self._error
            missed = self._newest is not None and self._newest.anew
            anew, self._anew = frame.discontinuity or self._anew or missed, False
            first = frame.discontinuity or self.frames == 0
            self._newest = _Shown(frame, depth.copy(), colour.copy(), outputs, self.facts.stamp(frame), anew, first)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._newest is not None or self._over)
                    shown, self._newest = self._newest, None
                if shown is None:
                    return
                self._publish(shown)
        except BaseException as error:  # raised by `write`, in the thread that can do something about it
            self._error = error

    def _publish(self, shown: _Shown) -> None:
        if shown.anew and self._clouds is not None:
            height, width = shown.frame.image.shape[:2]  # pictures have each their own size
            info = replace(self.facts.info, width=width, height=height)
            self._clouds = Clouds(replace(self.facts, info=info))
        for channel, message in self._publications:
            if channel.has_sinks():
                channel.log(message(shown), log_time=shown.stamp)

    def _published(self) -> list[tuple[Any, Callable[[_Shown], Any]]]:
        """Each channel, and what makes its message of a frame."""
        channels, context = self._foxglove.channels, self._context
        made: list[tuple[Any, Callable[[_Shown], Any]]] = [
            (channels.CompressedImageChannel(ros_messages.colours_topic(self._kind), context=context), self._coloured),
            (channels.CompressedImageChannel(ros_messages.COLOUR_TOPIC, context=context), self._colour),
            (self._foxglove.Channel(FIGURES_TOPIC, schema=_schema(self._status()), context=context), self._figures),
        ]
        if self._kind.unit == "m":
            made.append((channels.RawImageChannel(ros_messages.depth_topic(self._kind), context=context), self._depth))
        if self.facts.lens is not None:
            topic = ros_messages.camera_info_topic(self._kind)
            made += [
                (channels.CameraCalibrationChannel(topic, context=context), self._camera),
                (channels.PointCloudChannel(ros_messages.points_topic(self._kind), context=context), self._points),
                (channels.FrameTransformChannel(TRANSFORM_TOPIC, context=context), self._transform),
            ]
        return made

    def _stamped(self, shown: _Shown) -> dict[str, Any]:
        """The fields that every message has."""
        seconds, nanoseconds = divmod(shown.stamp, 10**9)
        timestamp = self._foxglove.messages.Timestamp(sec=seconds, nsec=nanoseconds)
        return {"timestamp": timestamp, "frame_id": self.facts.frame_id}

    def _coloured(self, shown: _Shown) -> Any:
        jpeg = picture(shown.colour, ".jpg")
        return self._foxglove.messages.CompressedImage(**self._stamped(shown), data=jpeg, format="jpeg")

    def _colour(self, shown: _Shown) -> Any:
        jpeg = picture(shown.frame.image, ".jpg")
        return self._foxglove.messages.CompressedImage(**self._stamped(shown), data=jpeg, format="jpeg")

    def _depth(self, shown: _Shown) -> Any:
        image = ros_messages.depth_image(shown.stamp, self.facts.frame_id, shown.depth, self._kind)
        fields = {name: image[name] for name in ("width", "height", "encoding", "step", "data")}
        return self._foxglove.messages.RawImage(**self._stamped(shown), **fields)

    def _camera(self, shown: _Shown) -> Any:
        assert self.facts.lens is not None
        height, width = shown.frame.image.shape[:2]
        camera = self.facts.lens.camera(width, height)
        frame_id, distortion = self.facts.frame_id, self.facts.lens.distortion
        info = ros_messages.camera_info(shown.stamp, frame_id, camera, (width, height), distortion)
        model = _KANNALA_BRANDT if info["distortion_model"] == "equidistant" else info["distortion_model"]
        matrices = {name.upper(): info[name] for name in ("d", "k", "r", "p")}
        return self._foxglove.messages.CameraCalibration(
            **self._stamped(shown), width=width, height=height, distortion_model=model, **matrices
        )

    def _points(self, shown: _Shown) -> Any:
        assert self._clouds is not None
        cloud = self._clouds.of(shown.frame.image, shown.depth, shown.outputs)
        messages = self._foxglove.messages
        numeric = messages.PackedElementFieldNumericType
        kinds = {"<f4": numeric.Float32, "|u1": numeric.Uint8}
        fields = [
            messages.PackedElementField(name=name, offset=offset, type=kinds[kind.str])
            for name, (kind, offset, *_) in (_POINT.fields or {}).items()
        ]
        where = messages.Pose(
            position=messages.Vector3(x=0.0, y=0.0, z=0.0), orientation=messages.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)
        )
        return messages.PointCloud(
            **self._stamped(shown), pose=where, point_stride=_POINT.itemsize, fields=fields, data=_packed(cloud)
        )

    def _transform(self, shown: _Shown) -> Any:
        messages = self._foxglove.messages
        return messages.FrameTransform(
            timestamp=self._stamped(shown)["timestamp"],
            parent_frame_id=UPRIGHT_FRAME,
            child_frame_id=self.facts.frame_id,
            translation=messages.Vector3(x=0.0, y=0.0, z=0.0),
            rotation=messages.Quaternion(**_UPRIGHT),
        )

    def _figures(self, shown: _Shown) -> dict[str, Any]:
        change = float(shown.outputs["state_change"])
        return {
            **self._status(),
            "frame": shown.frame.index,
            "state_change": None if shown.first or not math.isfinite(change) else round(change, 6),
            "discontinuity": shown.anew,
        }

    def _status(self) -> dict[str, Any]:
        """The run's figures, by names that a path in Foxglove can have: letters, digits and "_"."""
        return {
            re.sub(r"\W+", "_", name.replace("/", " per ")).strip("_"): value
            for name, value in self.facts.status().items()
        }


def _address_of(uri: str) -> tuple[str, int]:
    """Host and port. Raises InputError where it is none, or one that others could reach: the protocol asks nobody who
    he is."""
    address = host_and_port(uri)
    if address is None:
        raise InputError(f"{uri}: {FoxgloveSink.address}")
    host, port = address
    if not is_loopback(host):
        raise InputError(
            f"{uri}: would be open to the network, and Foxglove's protocol knows no password; take "
            f"foxglove://127.0.0.1:{port}, and on the machine that watches: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE"
        )
    return address


def load_foxglove() -> ModuleType:
    try:
        import foxglove
        import foxglove.channels
        import foxglove.messages
    except ImportError:
        raise InputError("foxglove:// needs foxglove-sdk: pip install 'vmdepth[robots]'") from None
    # What it says of viewers that are slow, or leave, is none of the run's.
    logging.getLogger("foxglove").setLevel(logging.CRITICAL)
    return foxglove


def _schema(status: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of the figures, which is where Foxglove takes the names from that it offers to plot."""
    texts = {name: {"type": "string" if isinstance(value, str) else "number"} for name, value in status.items()}
    own = {"frame": {"type": "number"}, "state_change": {"type": "number"}, "discontinuity": {"type": "boolean"}}
    return {"type": "object", "title": "vmdepth.Figures", "properties": {**texts, **own}}


def _packed(cloud: PointCloud) -> bytes:
    points = np.empty(len(cloud.points), _POINT)
    for column, name in enumerate(("x", "y", "z")):
        points[name] = cloud.points[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        points[name] = cloud.colours[:, column]
    points["alpha"] = 255
    return points.tobytes()
