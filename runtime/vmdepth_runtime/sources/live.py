"""Cameras and network streams: opened again whenever they are lost, for as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, ClassVar, Protocol

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.pipeline.watchdog import Pulse
from vmdepth_runtime.sources.base import Source, SourceFrame, VideoInfo
from vmdepth_runtime.sources.colour_conversion import PictureMaker
from vmdepth_runtime.sources.settings import LiveSettings
from vmdepth_runtime.sources.uri import redacted, scheme_of
from vmdepth_runtime.sources.video import VideoSource

_WAITS = (0.25, 0.5, 1.0, 2.0)  # seconds between attempts to open a lost source; the last one over and over
_OPENING = 10.0  # seconds that a source may take to open
_PLUGGED = 2.0  # the same of a camera on this machine, which ffmpeg waits for without sleeping
_PROBE = "1000000"  # microseconds that a stream is looked at before its first picture; ffmpeg takes 5 s or more
_NONBLOCK = "+4"  # added to ffmpeg's fflags, AVFMT_FLAG_NONBLOCK: else nothing ends the wait for a silent camera
_TIME_BASE = Fraction(1, 90_000)
_POLL = 0.002  # seconds between two looks at a camera


class LostError(Exception):
    """A live source gives no more frames. Its text is the reason."""


class Reader(Protocol):
    """An open live source."""

    fps: float

    def read(self) -> NDArray[np.uint8]:
        """The next picture, uint8 [H, W, 3] RGB, upright. Raises LostError."""

    def close(self) -> None: ...


class LiveSource(Source):
    """The pictures of a reader, timed as they come; opened again with growing waits when it is lost.

    uri: may hold credentials. reopen: gives a new reader, or raises InputError. first: the reader to begin with.
    Attributes: losses, how often the source was lost; pulse, of waiting for a picture.
    """

    live: ClassVar[bool] = True

    def __init__(self, uri: str, reopen: Callable[[], Reader], settings: LiveSettings, first: Reader) -> None:
        super().__init__(redacted(uri))
        self.losses = 0
        self.pulse = Pulse(f"reading {self.name}", allowed=2.0)  # a reader ends by itself after the time allowed once
        self._reopen, self._settings = reopen, settings
        self._attempts = 0  # to open it again, since the last picture
        self._reader: Reader | None = first
        self._stop = Event()
        try:
            self._ahead = first.read()
        except LostError as lost:
            first.close()
            raise InputError(f"{self.name}: opens, but gives no picture ({lost}); is the camera sending?") from None
        self._begin = time.perf_counter()
        height, width = self._ahead.shape[:2]
        self.info = VideoInfo(width, height, None, first.fps, _TIME_BASE)

    @property
    def seekable(self) -> bool:
        return False

    def __iter__(self) -> Iterator[SourceFrame]:
        image, _ = self._at_one_size(self._ahead)
        yield SourceFrame(0, 0.0, image, arrived=self._begin)
        index, last = 0, time.perf_counter()  # what else took time since it was opened is no gap
        while (picture := self._next()) is not None:
            now = time.perf_counter()
            image, changed = self._at_one_size(picture)
            index += 1
            gap = now - last
            if gap > self._settings.max_gap:
                self._warn(f"{self.name}: nothing came for {gap:.1f} s, the stream starts anew")
            yield SourceFrame(index, now - self._begin, image, changed or gap > self._settings.max_gap, now)
            last = now

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self.stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _next(self) -> NDArray[np.uint8] | None:
        """The next picture, however long it takes; None when the source is given up, or told to stop."""
        while not self._stop.is_set():
            if self._reader is None and not self._open_again():
                return None
            assert self._reader is not None
            try:
                with self.pulse:
                    picture = self._reader.read()
                self._attempts = 0
                return picture
            except LostError as lost:
                self.losses += 1
                self._warn(f"{self.name}: lost ({lost}); opening it again")
                self._reader.close()
                self._reader = None
        return None

    def _open_again(self) -> bool:
        while self._settings.retries is None or self._attempts < self._settings.retries:
            if self._stop.wait(_WAITS[min(self._attempts, len(_WAITS) - 1)]):
                return False
            self._attempts += 1
            try:
                self._reader = self._reopen()
                return True
            except InputError:
                continue
        self._warn(f"{self.name}: given up after opening it {self._attempts} times again; --retries allows more")
        return False


class ContainerReader:
    """Pictures of an open PyAV container. Damaged ones are left out. stall: seconds that a picture may take to come."""

    def __init__(self, container: InputContainer, stream: VideoStream, stall: float) -> None:
        self._stall = stall
        stream.thread_type = "SLICE"  # threads by frame would hold frames back
        self.fps = float(stream.average_rate or stream.guessed_rate or 30)
        self._container, self._stream = container, stream
        self._packets = container.demux(stream)
        self._decoded: list[av.VideoFrame] = []
        self._picture = PictureMaker()

    def read(self) -> NDArray[np.uint8]:
        begin = time.perf_counter()
        while True:
            if time.perf_counter() - begin > self._stall:
                raise LostError("no picture for too long")  # though sound, or damaged ones, may go on
            while self._decoded:
                frame = self._decoded.pop(0)
                if not frame.is_corrupt:
                    return self._picture(frame)
            try:
                packet = next(self._packets, None)
            except av.error.BlockingIOError:  # nothing new yet
                time.sleep(_POLL)
                self._packets = self._container.demux(self._stream)  # which ended with the error
                continue
            except av.FFmpegError as error:
                raise LostError(_reason(error)) from None
            if packet is None:
                raise LostError("it ended")
            try:
                self._decoded = packet.decode()
            except av.FFmpegError:
                continue  # a damaged packet; decoders go on with the next one

    def close(self) -> None:
        self._container.close()


class GstreamerReader:
    """A Jetson's CSI camera, through OpenCV built with GStreamer. stall: as of `ContainerReader`."""

    def __init__(self, number: int, stall: float) -> None:
        import cv2

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
        pipeline = (
            f"nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),framerate=30/1 ! nvvidconv ! "
            "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
        )
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(_OPENING * 1e3), cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(stall * 1e3)]
        self._capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, limits)
        if not self._capture.isOpened():
            raise InputError(f"csi://{number}: does not open; is the camera connected, and nvargus-daemon running?")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS) or 30)

    def read(self) -> NDArray[np.uint8]:
        good, image = self._capture.read()
        if not good:
            raise LostError("it gives no frame")
        return np.ascontiguousarray(image[..., ::-1])

    def close(self) -> None:
        self._capture.release()


def open_network(uri: str, settings: LiveSettings) -> Source:
    """An rtsp, rtmp or http address: live, unless it is a file on a web server, which says how long it is.

    Raises InputError when it cannot be opened.
    """

    def open_again() -> tuple[InputContainer, VideoStream]:
        scheme = scheme_of(uri)
        options = {} if scheme in ("http", "https") else {"analyzeduration": _PROBE}
        options |= {"rtsp_transport": "tcp"} if scheme in ("rtsp", "rtsps") else {}
        return _open(uri, uri, (_OPENING, settings.stall), options=options)

    container, stream = open_again()
    if scheme_of(uri) in ("http", "https") and container.duration:
        return VideoSource(Path(redacted(uri)), seekable=True, reopen=open_again, opened=(container, stream))
    return LiveSource(
        uri,
        lambda: ContainerReader(*open_again(), settings.stall),
        settings,
        first=ContainerReader(container, stream, settings.stall),
    )


def open_camera(uri: str, device: str | None, settings: LiveSettings) -> Source:
    """A camera: `device` through Video4Linux, or "csi://N". Raises InputError, and names those there are."""
    if device is None:
        number = uri.partition("://")[2] or "0"
        if not number.isdigit():
            raise InputError(f"{uri}: a CSI camera is csi:// and its number, for example csi://0")
        reopen = partial(GstreamerReader, int(number), settings.stall)
        return LiveSource(uri, reopen, settings, first=reopen())

    def open_device() -> Reader:
        if not Path(device).exists():
            there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*")))
            raise InputError(f"{uri}: no such camera; " + (f"there are: {there}" if there else "none is connected"))
        how = {"format": "v4l2", "options": {"fflags": _NONBLOCK}}
        return ContainerReader(*_open(device, uri, (_PLUGGED, settings.stall), **how), settings.stall)

    return LiveSource(uri, open_device, settings, first=open_device())


def _open(location: str, uri: str, limits: tuple[float, float], **how: Any) -> tuple[InputContainer, VideoStream]:
    try:
        container = av.open(location, timeout=limits, **how)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{redacted(uri)}: cannot be opened ({_reason(error)}); check the address") from None
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        container.close()
        raise InputError(f"{redacted(uri)}: there is no picture in it; check the address")
    return container, stream


def _reason(error: BaseException) -> str:
    """Without the address, which the error's own text may hold."""
    if isinstance(error, av.error.ExitError):
        return "nothing came for too long"
    return getattr(error, "strerror", None) or type(error).__name__
