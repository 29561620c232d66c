"""Depth, camera and colour as a recording of a robot: MCAP with the messages of ROS 2."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.depth_kinds import DepthKind
from vmdepth_runtime.encoding import ros_messages
from vmdepth_runtime.encoding.points import every
from vmdepth_runtime.encoding.ros_definitions import DEFINITIONS
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import SinkFacts, writing
from vmdepth_runtime.sinks.clouds import CLOUD_OUTPUTS, Clouds
from vmdepth_runtime.sinks.files import OneFileSink, foretell_size
from vmdepth_runtime.sources.base import SourceFrame

_CHUNK = 1 << 20  # bytes, after which a chunk is closed: a reader takes whole ones, and each has an entry in the index
_FLUSH = 1.0  # seconds, after which it is closed whatever it holds
_COLOUR, _COLOURS = 0.25, 0.1  # bytes that JPEG makes of a pixel of the source, and of coloured depth; of the demo


class McapSink(OneFileSink):
    """`sensor_msgs` of ROS 2 in MCAP (https://mcap.dev/spec): for each frame an Image of the depth, a CameraInfo where
    the camera is known, a CompressedImage of the source, and a PointCloud2 where the run wants points; all with the
    frame's stamp and the camera's name, on the topics of `ros_messages`. Depth without a unit, whose encoding no
    viewer knows, is there as a coloured picture, too.

    Chunks are closed once a second, whether frames come or not: whatever happens, what was written before that is read
    by whoever needs no index.
    """

    ending = ".mcap"
    remark = "ROS 2"
    takes_camera = True
    records = True
    needs_range = True
    wants_colour = True
    draws = CLOUD_OUTPUTS

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        super().check(target, sources, has_camera=has_camera)
        _writer_class(target)

    @classmethod
    def foretell(cls, target: str, facts: SinkFacts) -> str | None:
        pixels, short = facts.info.height * facts.info.width, facts.depth_encoding == "16UC1"
        size, saved = (2 if short else 4) * pixels + _COLOUR * pixels, "about half" if short else "about a seventh"
        if facts.depth_meaning.unit is None:
            size += _COLOURS * pixels
        if facts.points:
            size += ros_messages.POINT_BYTES * pixels / every(pixels, facts.cloud.max_points) ** 2
            saved = "about a quarter"
        return foretell_size(target, facts, per_frame=size, copies=1, saved=saved)

    @classmethod
    def shows_colour(cls, colour: bool, kind: DepthKind | None = None) -> bool:
        return kind is None or kind.unit is None

    @classmethod
    def scales(cls, kind: DepthKind) -> bool:
        return kind.unit is None

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        make = _writer_class(str(target))
        if facts.points and facts.lens is None:
            raise InputError(f"{target}: --points: the camera is not known; give --fov or --intrinsics")
        super().__init__(target, facts)
        self._camera = facts.lens.camera(facts.info.width, facts.info.height) if facts.lens else None
        if self._camera is None:
            self.notes.append(
                f"{self.path.name}: has no CameraInfo, as nothing is known of the camera; --fov or --intrinsics says it"
            )
        self.wants_colour = self.shows_colour(facts.colour, facts.depth_meaning)
        self._clouds = (
            Clouds(facts, lambda line: self.notes.append(f"{self.path.name}: {line}")) if facts.points else None
        )
        if self._clouds is None:
            self.draws = ()
        self._beyond = 0
        with writing(self.path):
            self._file: IO[bytes] = self._part.open("wb")
            self._recorder = _Recorder(make, self._file, compress=facts.compress)

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        facts, kind = self.facts, self.facts.depth_meaning
        at = facts.stamp(frame), facts.frame_id
        image = ros_messages.depth_image(*at, depth, kind, facts.depth_encoding)
        messages = [(ros_messages.depth_topic(kind), "Image", image)]
        if self._camera is not None and facts.lens is not None:
            size = depth.shape[1], depth.shape[0]
            info = ros_messages.camera_info(*at, self._camera, size, facts.lens.distortion)
            messages.append((ros_messages.camera_info_topic(kind), "CameraInfo", info))
        picture = ros_messages.colour_image(*at, frame.image)
        messages.append((ros_messages.COLOUR_TOPIC, "CompressedImage", picture))
        if self.wants_colour:
            messages.append(
                (ros_messages.colours_topic(kind), "CompressedImage", ros_messages.colour_image(*at, colour))
            )
        if self._clouds is not None:
            cloud = ros_messages.point_cloud(*at, self._clouds.of(frame.image, depth, self.outputs))
            messages.append((ros_messages.points_topic(kind), "PointCloud2", cloud))
        self._recorder.add(messages, at[0], frame.index)
        if facts.depth_encoding == "16UC1":
            self._beyond += int(np.count_nonzero(depth > ros_messages.FARTHEST))

    def _finish(self) -> None:
        self._recorder.finish()
        self._file.close()
        if self._beyond:
            self.notes.append(
                f"{self.path.name}: {self._beyond} pixels were beyond the {ros_messages.FARTHEST:g} m that 16UC1 "
                "holds, and are 0"
            )

    def _drop(self) -> None:
        self._recorder.stop()
        with suppress(OSError):
            self._file.close()


class _Recorder:
    """Messages into a file, so that it can be read but for the last second of them: a thread sees to that, as a camera
    that stands still has nobody call.

    Args:
        make: `mcap_ros2.writer.Writer`.
        file: open for writing; it stays open.
        compress: whether chunks are compressed.
    """

    def __init__(self, make: Any, file: IO[bytes], *, compress: bool) -> None:
        from mcap.writer import CompressionType

        compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._writer = make(file, chunk_size=_CHUNK, compression=compression)
        self._schemas: dict[str, Any] = {}
        self._lock = Lock()  # of what follows
        self._unflushed = False
        self._error: OSError | None = None
        self._over = Event()
        self._thread = Thread(target=self._flush_now_and_then, name="recording", daemon=True)
        self._thread.start()

    def add(self, messages: Sequence[tuple[str, str, ros_messages.Message]], stamp: int, number: int) -> None:
        """Write what belongs to one frame.

        Args:
            messages: topic, name in sensor_msgs, and fields of each.
            stamp: of the frame, nanoseconds since 1970.
            number: of the frame.

        Raises:
            OSError: these, or those before, cannot be written.
        """
        with self._lock:
            self._check()
            for topic, kind, message in messages:
                name = f"sensor_msgs/msg/{kind}"
                if name not in self._schemas:
                    self._schemas[name] = self._writer.register_msgdef(name, DEFINITIONS[name])
                self._writer.write_message(topic, self._schemas[name], message, log_time=stamp, sequence=number)
            self._unflushed = True

    def finish(self) -> None:
        """What is left, and the index. Raises OSError as `add` does."""
        self.stop()
        self._check()
        self._writer.finish()

    def stop(self) -> None:
        """Write nothing more by itself; the file may be closed then."""
        self._over.set()
        self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _flush_now_and_then(self) -> None:
        while not self._over.wait(_FLUSH):
            with self._lock:
                if not self._unflushed or self._error is not None:
                    continue
                try:
                    self._writer._writer.flush()  # of `mcap.writer.Writer`, for which this one has no name
                    self._unflushed = False
                except OSError as error:  # raised where somebody can do something about it
                    self._error = error


def _writer_class(target: str) -> Any:
    """`mcap_ros2.writer.Writer`. Raises InputError where it is not installed."""
    try:
        from mcap_ros2.writer import Writer
    except ModuleNotFoundError:
        raise InputError(f"{target}: recordings need mcap-ros2-support: pip install 'vmdepth[robots]'") from None
    return Writer
