"""From a camera's topic to depth: pictures as they come, the newest first, and what people have to be told."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.rectifier import Rectifier, known_distortion
from vmdepth_runtime.encoding.depth_encodings import check_encoding
from vmdepth_runtime.errors import InputError, told_by
from vmdepth_runtime.ros.arrivals import Arrival, Arrivals
from vmdepth_runtime.ros.camera_stream import CameraStream, StampedDepth
from vmdepth_runtime.ros.publishers import Publishers, quality_of_service
from vmdepth_runtime.ros.settings import RosSettings
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sources.recordings.cameras import camera_info_names, lens_of
from vmdepth_runtime.sources.recordings.images import ImageReader
from vmdepth_runtime.sources.recordings.message_types import COMPRESSED, IMAGE

_PATIENCE = 5.0  # seconds without what is waited for, until that is told


class DepthNode:
    """Subscribes a node to a camera, and gives depth for what arrives.

    Args:
        node: of rclpy.
        settings: of the node.
        session: the model; closed by whoever made it.
        lens: of the camera, where it was given by hand; None leaves it to `CameraInfo`.

    Attributes:
        arrived: where pictures come to from the thread that listens.
        frames: how many pictures were given depth.
        skipped: how many could not be read.
        failed: for how many of `frames` the network gave nothing finite: their depth is NaN.
        restarts: how often the stream began anew.

    Raises:
        InputError: depth that cannot be sent as the settings say, or a topic that cannot be one.
    """

    def __init__(self, node: Any, settings: RosSettings, session: StepSession, lens: Lens | None) -> None:
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        self.arrived = Arrivals(settings.max_gap)
        self.frames = self.skipped = self.failed = self.restarts = 0
        self._node, self._logger = node, node.get_logger()
        self._topic = _resolved(node, settings.image)
        self._stream = CameraStream(session, settings, self._topic)
        self._settings = settings
        if settings.rectify and lens is not None:
            known_distortion(lens)  # raises where there is none
        kind = self._stream.contract.depth_meaning
        check_encoding(kind, settings.depth_encoding)
        settings.cloud.check_range(inverse=kind.inverse)
        self._meaning = f"{kind.meaning}, of {session.path.name}"
        self._out = Publishers(node, kind, settings)
        self._given = lens
        self._rectified: tuple[tuple[Lens, int, int], Rectifier] | None = None
        self._awaits_camera = False
        self._jump = ""  # before pictures that were given no depth
        self._told: set[str] = set()
        self._read = ImageReader()
        compressed = settings.compressed
        self._compressed = self._topic.endswith("compressed") if compressed is None else compressed
        names = [settings.camera_info] if settings.camera_info else list(camera_info_names(self._topic))
        self._infos: dict[str, Any] = {_resolved(node, name): None for name in names}  # the first place counts most
        quality = quality_of_service(settings.reliability, settings.queue)
        pictures = CompressedImage if self._compressed else Image
        node.create_subscription(pictures, settings.image, self.arrived.put, quality)
        for name in names if lens is None else ():
            node.create_subscription(CameraInfo, name, partial(self._keep_info, _resolved(node, name)), quality)
        self._timer = node.create_timer(_PATIENCE, self._look_around)

    def run(self) -> None:
        """Give depth for the newest picture, again and again, until nothing arrives any more.

        Raises:
            InputError: pictures of an encoding that cannot be read, too small ones, a camera that does not fit them.
            WorkError: the network failed.
        """
        while (arrival := self.arrived.take()) is not None:
            self._take(arrival)

    def tell_the_end(self) -> None:
        """What became of it all, on stderr: ROS may be shut down, and its loggers with it."""
        line = f"{self.frames} picture{'s' * (self.frames != 1)} of {self._topic}"
        counts = {
            "passed over for newer ones": self.arrived.dropped,
            "could not be read": self.skipped,
            "for which the network gave nothing finite": self.failed,
            "times begun anew": self.restarts,
        }
        told = [line, *(f"{count} {what}" for what, count in counts.items() if count)]
        click.echo(f"vmdepth-ros: {'; '.join(told)}", err=True)

    def _take(self, arrival: Arrival) -> None:
        message = arrival.message
        self._jump = arrival.jump or self._jump
        image = self._read(message)
        if isinstance(image, str):
            self._skip(image)
            return
        height, width = image.shape[:2]
        lens = self._lens(width, height)
        if lens is None and (self._stream.needs_lens or self._settings.rectify):
            self._awaits_camera = True
            return
        if lens is not None and self._settings.rectify:
            rectify = self._rectifier(lens, width, height)
            image, lens = rectify(image), rectify.lens
        stepped = self._stream.step(image, lens, self._jump)
        self._jump = ""
        self._tell_of(stepped, f"{width}x{height}")
        self._out.depth(message.header, stepped.depth)
        if lens is not None:
            self._out.camera(message.header, lens, width, height)
            if self._out.points_are_wanted:
                self._out.points(message.header, self._stream.points(image, stepped))
        self.frames += 1

    def _skip(self, reason: str) -> None:
        """A picture that cannot be read is one of many, unless it is of the first: then all of them may be so."""
        if not self.frames and not reason.startswith("damaged"):
            raise InputError(f"{self._topic}: {reason}")
        self.skipped += 1
        self._warn_sometimes(f"a picture is left out: {reason}", self.skipped)

    def _warn_sometimes(self, what: str, count: int) -> None:
        if count & (count - 1) == 0:  # the first, the second, the fourth, …
            self._logger.warning(f"{self._topic}: {what}; {count} by now")

    def _tell_of(self, stepped: StampedDepth, size: str) -> None:
        if not self.frames:
            self._logger.info(f"{self._topic} ({size}) → {self._out.depth_topic}: {self._meaning}")
        if stepped.restarted:
            self.restarts += 1
            self._logger.warning(f"{self._topic}: {stepped.restarted}; the stream starts anew")
        if not stepped.finite:
            self.failed += 1
            self._warn_sometimes("the network gave nothing finite for a picture, whose depth is NaN", self.failed)

    def _keep_info(self, place: str, message: Any) -> None:
        self._infos[place] = message

    def _lens(self, width: int, height: int) -> Lens | None:
        """What is known of the camera of a picture of a size."""
        info_topic, info = next(((name, info) for name, info in self._infos.items() if info is not None), ("", None))
        if self._given is not None or info is None:
            return self._given
        lens, remark = lens_of(info, self._topic)
        if lens is None:
            remark = "has no focal length: the camera is not calibrated"
        try:
            if lens is not None:
                lens.camera(width, height, self._topic)
                if self._settings.rectify:
                    self._rectifier(lens, width, height)
        except InputError as misfit:
            if not self.frames:
                raise
            lens, remark = None, str(misfit)  # of a camera that changes its size one comes before the other
        if remark:
            self._warn_once(f"{info_topic}: {remark}")
        return lens

    def _rectifier(self, lens: Lens, width: int, height: int) -> Rectifier:
        """What makes pictures of a size straight. Raises InputError where the lens does not say how."""
        wanted = (lens, width, height)
        if self._rectified is None or self._rectified[0] != wanted:
            self._rectified = (wanted, Rectifier(*wanted))
        return self._rectified[1]

    def _warn_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._logger.warning(line)

    def _look_around(self) -> None:
        """Called by a timer until there is depth: tell what is waited for, and what there is instead."""
        if self.frames:
            self._timer.cancel()
        else:
            self._warn_once(self._what_is_missing())

    def _what_is_missing(self) -> str:
        if self._awaits_camera:
            takes, instead = "this model's metres take", "fov or intrinsics stand in for it"
            if self._settings.rectify:
                takes, instead = "rectify takes", "a calibration, as intrinsics, stands in for it"
            places = " or ".join(self._infos)
            return (
                f"{self._topic} comes, and no CameraInfo on {places}, which {takes}; camera_info names its topic, "
                f"{instead}"
            )
        topics = dict(self._node.get_topic_names_and_types())
        wanted = COMPRESSED if self._compressed else IMAGE
        kinds = topics.get(self._topic, [])
        if wanted in kinds:
            return f"nothing comes on {self._topic} yet"
        if kinds:
            return f"{self._topic} is {kinds[0]}, and {wanted} is waited for"
        topics.pop(self._out.depth_topic, None)
        there = [name for name, kinds in sorted(topics.items()) if {IMAGE, COMPRESSED} & set(kinds)]
        return f"nobody sends on {self._topic}; pictures are on {', '.join(there) or 'no topic'}"


def _resolved(node: Any, topic: str) -> str:
    try:
        return str(node.resolve_topic_name(topic))
    except Exception as error:  # of rclpy's compiled part, whose kinds had several names
        raise InputError(f"{topic}: cannot be the name of a topic ({told_by(error)})") from None
