"""Live sources as they are once open: what reads their pictures, one by one, until they are lost."""

from __future__ import annotations

import re
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.cameras.request import Request
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.footage.deinterlacing import Deinterlacer
from vmdepth_runtime.sources.refusals import NoAnswerError, reason_of, refusal
from vmdepth_runtime.sources.uri import redacted, scheme_of, sendable
from vmdepth_runtime.sources.video_file import TAGS, is_known, packets_of

if TYPE_CHECKING:
    from vmdepth_runtime.sources.cameras.v4l2 import Offer

_OPENING = 10.0  # seconds that a source may take to open
_PLUGGED = 2.0  # the same of a camera on this machine, which ffmpeg waits for without sleeping
_PROBE = "1000000"  # microseconds that a stream is looked at before its first picture; ffmpeg takes 5 s or more
_NONBLOCK = "+4"  # added to ffmpeg's fflags, AVFMT_FLAG_NONBLOCK: else nothing ends the wait for a silent camera
_POLL = 0.002  # seconds between two looks at a camera


class LostError(Exception):
    """A live source gives no more frames. Its text is the reason."""


class Reader(Protocol):
    """An open live source.

    Attributes:
        fps: nominal frames per second.
    """

    fps: float

    def read(self) -> NDArray[np.uint8]:
        """Wait for the next picture.

        Returns:
            uint8 `[H, W, 3]` RGB, upright.

        Raises:
            LostError: none comes.
        """

    def close(self) -> None:
        """Let go of what is open."""


class ContainerReader:
    """Pictures of an open PyAV container; damaged ones are left out.

    Args:
        container: where they come from.
        stream: of that container.
        stall: seconds that a picture may take to come before the source counts as lost.

    Attributes:
        has_sound: whether the container holds sound, too.
        notes: what was done to its pictures, a line each.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, stall: float) -> None:
        self._stall = stall
        stream.thread_type = "SLICE"  # threads by frame would hold frames back
        self.fps = float(stream.average_rate or stream.guessed_rate or 30)
        self.has_sound = bool(container.streams.audio)
        self._container, self._stream = container, stream
        self._packets = packets_of(container, stream)
        self._decoded: list[av.VideoFrame] = []
        self.notes: list[str] = []
        self._deinterlace = Deinterlacer(self.notes)
        self._to_rgb = RgbConverter(stream, self.notes)

    def read(self) -> NDArray[np.uint8]:
        begin = time.perf_counter()
        while True:
            if time.perf_counter() - begin > self._stall:
                raise LostError("no picture for too long")  # though sound, or damaged ones, may go on
            while self._decoded:
                frame = self._decoded.pop(0)
                if not frame.is_corrupt:
                    return self._to_rgb(frame)
            try:
                packet = next(self._packets, None)
            except av.error.BlockingIOError:  # nothing new yet
                time.sleep(_POLL)
                self._packets = packets_of(self._container, self._stream)  # which ended with the error
                continue
            except av.FFmpegError as error:
                raise LostError(reason_of(error)) from None
            if packet is None:
                raise LostError("it ended")
            try:
                self._decoded = [whole for frame in packet.decode() for whole in self._deinterlace(frame)]
            except av.FFmpegError:
                continue  # a damaged packet; decoders go on with the next one

    def close(self) -> None:
        self._container.close()


class GstreamerReader:
    """A Jetson's CSI camera, through OpenCV built with GStreamer.

    Args:
        number: of the camera.
        stall: seconds that a picture may take to come.
        request: what is asked of it; None: what it gives, 30 times a second.

    Raises:
        InputError: this OpenCV cannot read it.
        NoAnswerError: the camera does not open.
    """

    def __init__(self, number: int, stall: float, request: Request | None = None) -> None:
        if "GStreamer:                   YES" not in cv2.getBuildInformation():
            raise InputError(
                f"csi://{number}: this OpenCV is built without GStreamer, which reads CSI cameras; on a Jetson use "
                "JetPack's own OpenCV (a virtual environment with --system-site-packages)"
            )
        if tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 7):
            raise InputError(
                f"csi://{number}: OpenCV {cv2.__version__} would wait for a silent camera for ever; it takes 4.7 or "
                "later (JetPack 6 has 4.8)"
            )
        pipeline = csi_pipeline(number, request)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(_OPENING * 1e3), cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(stall * 1e3)]
        self._capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, limits)
        if not self._capture.isOpened():
            raise NoAnswerError(f"csi://{number}: does not open; is the camera connected, and nvargus-daemon running?")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS) or 30)

    def read(self) -> NDArray[np.uint8]:
        good, image = self._capture.read()
        if not good:
            raise LostError("it gives no frame")
        return np.ascontiguousarray(image[..., ::-1])

    def close(self) -> None:
        self._capture.release()


def csi_pipeline(number: int, request: Request | None) -> str:
    """What GStreamer reads a Jetson's camera by. number, request: as `GstreamerReader` takes them."""
    size, fps = (request.size, request.fps) if request is not None else (None, None)
    caps = "video/x-raw(memory:NVMM)" + (f",width={size[0]},height={size[1]}" if size else "")
    rate = fps or Fraction(30)
    return (
        f"nvarguscamerasrc sensor-id={number} ! {caps},framerate={rate.numerator}/{rate.denominator} ! nvvidconv ! "
        "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
    )


def open_address(uri: str, stall: float) -> tuple[InputContainer, VideoStream]:
    """Open an rtsp, rtmp, http, udp or srt address.

    Args:
        uri: may hold credentials.
        stall: seconds that a read may take.

    Raises:
        InputError: it does not open, or holds no picture; says why, without the credentials.
    """
    scheme = scheme_of(uri)
    options = {} if scheme in ("http", "https") else {"analyzeduration": _PROBE}
    options |= {"rtsp_transport": "tcp"} if scheme in ("rtsp", "rtsps") else {}
    options |= {"overrun_nonfatal": "1"} if scheme == "udp" else {}  # a burst costs frames, not the stream
    if scheme == "udp" and re.match(r"[^:]+://[^/?]*:\d+", uri) is None:
        raise InputError(f"{redacted(uri)}: says no port; give the one that is sent to, as in udp://@:5000")
    host = re.match(r"[^:]+://(?:[^/?#@]*@)?([^/?#@]*)(?![^?#]*@)", uri)
    port = re.search(r":(\d+)$", host[1]) if host is not None else None
    if port is not None and not 0 < int(port[1]) < 65536:
        raise InputError(f"{redacted(uri)}: ports are 1 to 65535; give the one that it is at, or sent to")
    return _open(sendable(uri), uri, (_OPENING, stall), options=options)


def open_device(device: str, uri: str, stall: float) -> ContainerReader:
    """Open a camera of this machine through Video4Linux.

    Args:
        device: its file.
        uri: what the user calls it; may ask for a size, rate and pixel format.
        stall: seconds that a picture may take to come.

    Raises:
        InputError: it is not there (the text names those that are), does not open, or does not offer what is asked for
            (the text says what it does).
    """
    if not Path(device).exists():
        there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
        raise InputError(f"{uri}: no such camera; " + (f"there are: {there}" if there else "none is connected"))
    options, request = {"fflags": _NONBLOCK}, Request.of(uri) if "?" in uri else None
    if request is not None:
        options |= request.options(_offers_of(device, uri))
    # `options` would go to the decoder as well, which would believe in the size whatever the camera makes of it.
    container, stream = _open(device, uri, (_PLUGGED, stall), format="v4l2", container_options=options)
    reader = ContainerReader(container, stream, stall)
    if request is not None:
        try:
            request.check(stream.width, stream.height, stream.average_rate)
        except InputError:
            reader.close()
            raise
    return reader


def _offers_of(device: str, uri: str) -> list[Offer]:
    from vmdepth_runtime.sources.cameras.v4l2 import offers_of  # where there is Video4Linux there is its fcntl, too

    try:
        return offers_of(device)
    except OSError as error:
        raise refusal(uri, error) from None


def _open(location: str, uri: str, limits: tuple[float, float], **how: Any) -> tuple[InputContainer, VideoStream]:
    try:
        container = av.open(location, timeout=limits, metadata_errors=TAGS, **how)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise refusal(uri, error) from None
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        container.close()
        raise InputError(f"{redacted(uri)}: there is no picture in it; check the address")
    if not is_known(stream):
        container.close()
        raise InputError(f"{redacted(uri)}: is coded in a way that FFmpeg does not know; have it sent as H.264")
    return container, stream
