"""Sources by what they are called: `open_source`."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.cameras.request import Request
from vmdepth_runtime.sources.folder import FolderSource, are_pictures
from vmdepth_runtime.sources.listing import is_pattern, is_picture, is_recording, list_files, refuse_part
from vmdepth_runtime.sources.live import WAITS, LiveSource
from vmdepth_runtime.sources.live_readers import ContainerReader, GstreamerReader, open_address, open_device
from vmdepth_runtime.sources.recordings.open import open_recorded
from vmdepth_runtime.sources.refusals import NoAnswerError
from vmdepth_runtime.sources.settings import LiveSettings, ReadSettings
from vmdepth_runtime.sources.uri import NETWORK, camera_of, local_path, path_of, redacted, scheme_of
from vmdepth_runtime.sources.video import VideoSource

_QUIET = 3.0  # seconds that a live source may take to open before it is said that it is waited for


def open_source(
    source: str | Path,
    live: LiveSettings | None = None,
    *,
    read: ReadSettings | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Source:
    """Open a source and read its first frame.

    ```python
    from vmdepth_runtime import open_source

    with open_source("demo") as source:
        print(source.info.width, source.info.height, source.info.fps)
        for frame in source:
            frame.image  # uint8 [H, W, 3] RGB
    print(source.skipped, source.warnings)
    ```

    Args:
        source: a video file, a picture, a folder of images, a pattern of image files ("frames/*.png",
            "frames/%06d.png"), a pipe such as /dev/stdin; what a robot recorded (an MCAP file, a rosbag2 folder); a
            camera ("0", "/dev/video0", "v4l2:///dev/video0?size=1280x720&fps=30&format=mjpeg", "csi://0"); a network
            stream (rtsp, rtmp, http, udp, srt); "demo" is the bundled clip.
        live: how a camera or network stream is held on to, and after what gap a recording starts anew; None: the
            defaults of `LiveSettings`.
        read: which frames are taken, of which topic, and what a folder of images is; None: the defaults of
            `ReadSettings`.
        waiting: gets a line for each reason why a camera, or a stream by rtsp or rtmp, does not answer yet; it is then
            tried again, as often as `live` says. None: it is an error at once.

    Returns:
        The open source, to be closed (`with`). Its frames come once.

    Raises:
        InputError: nothing can be read from it; names the source, without credentials, and what to do.
    """
    uri, settings, read = str(source), live or LiveSettings(), read or ReadSettings()
    attempts, told = 0, ""
    waits = camera_of(uri) is not None or scheme_of(uri) in ("csi", *NETWORK)
    while True:
        try:
            if waits:
                return _open_aside(uri, settings, read, None if attempts else waiting)
            return _open(uri, settings, read)
        except NoAnswerError as error:
            if waiting is None:
                raise
            if attempts == settings.retries:
                again = f"; given up after trying {attempts} time{'s' * (attempts > 1)} again, --retries allows more"
                raise InputError(f"{error}{again if attempts else ''}") from None
            if str(error) != told:
                told = str(error)
                waiting(f"{told}; trying again, Ctrl-C ends it")
        time.sleep(WAITS[min(attempts, len(WAITS) - 1)])
        attempts += 1


def _open_aside(uri: str, settings: LiveSettings, read: ReadSettings, waiting: Callable[[str], None] | None) -> Source:
    """`_open` in a thread of its own, so that Ctrl-C ends the wait for it: in the thread in which PyAV waits it would
    come in a callback of FFmpeg's, and be lost. What opens after that is closed.

    waiting: gets a line where it takes long.
    """
    opened: list[Source] = []
    failed: list[BaseException] = []
    left = threading.Event()

    def open_it() -> None:
        try:
            opened.append(_open(uri, settings, read))
            if left.is_set():
                opened[0].close()
        except BaseException as error:  # raised below, by who asked
            failed.append(error)

    thread = threading.Thread(target=open_it, name="opening", daemon=True)
    try:
        thread.start()
        thread.join(_QUIET)
        if thread.is_alive() and waiting is not None:
            waiting(f"{redacted(uri)}: waiting for its first picture, Ctrl-C ends it")
        thread.join()
    except BaseException:
        left.set()
        raise
    if failed:
        raise failed[0]
    return opened[0]


def _open(uri: str, settings: LiveSettings, read: ReadSettings) -> Source:
    if not uri:
        raise InputError("a source is empty; give a video, a folder of images, a camera or an address")
    scheme, device = scheme_of(uri), camera_of(uri)
    if device is not None or scheme in ("csi", *NETWORK):
        _refuse_topic(redacted(uri), read)
    if device is not None or scheme == "csi":
        _refuse_range(uri, read)
    if scheme in NETWORK:
        return _open_network(uri, settings, read)
    if device is not None:
        reopen = partial(open_device, device, uri, settings.stall)
        return _limited(LiveSource(uri, reopen, settings, first=reopen()), read)
    if scheme == "csi":
        return _limited(_open_csi(uri, settings), read)
    if scheme is not None and scheme != "file":
        known = ", ".join(f"{name}://" for name in (*NETWORK, "v4l2", "csi", "file"))
        raise InputError(f"{redacted(uri)}: unknown scheme '{scheme}://'; there are {known}, and plain paths")
    return _open_path(bundled.CLIP if uri == "demo" else path_of(uri), settings, read)


def _open_network(uri: str, settings: LiveSettings, read: ReadSettings) -> Source:
    """Live, unless it is a file on a web server, which says how long it is."""
    container, stream = open_address(uri, settings.stall)
    if scheme_of(uri) in ("http", "https") and container.duration:
        reopen = partial(open_address, uri, settings.stall)
        return VideoSource(
            Path(redacted(uri)),
            seekable=True,
            address=redacted(uri),
            reopen=reopen,
            opened=(container, stream),
            read=read,
        )
    _refuse_range(uri, read)
    live = LiveSource(
        uri,
        lambda: ContainerReader(*open_address(uri, settings.stall), settings.stall),
        settings,
        first=ContainerReader(container, stream, settings.stall),
    )
    return _limited(live, read)


def _open_csi(uri: str, settings: LiveSettings) -> Source:
    number, request = uri.partition("://")[2].partition("?")[0] or "0", Request.of(uri) if "?" in uri else None
    if not number.isdecimal():
        raise InputError(f"{uri}: a CSI camera is csi:// and its number, for example csi://0")
    if request is not None and request.format is not None:
        raise InputError(f"{uri}: a CSI camera has one format; size=1280x720 and fps=30 may be asked for")
    reopen = partial(GstreamerReader, int(number), settings.stall, request)
    return LiveSource(uri, reopen, settings, first=reopen())


def _refuse_range(uri: str, read: ReadSettings) -> None:
    """A live source is taken as it comes."""
    for option, value, default in (("start", read.start, "0"), ("every", read.every, 1), ("fps", read.fps, None)):
        if str(value) != str(default):
            raise InputError(
                f"{redacted(uri)}: is live, and --{option} is for files; --frames {read.frames or 100} works"
            )


def _limited(live: Source, read: ReadSettings) -> Source:
    live.wanted = read.frames
    live.info = replace(live.info, frames=read.frames)
    return live


def check_source(uri: str) -> None:
    """Raise InputError for a path at which nothing is; cameras, addresses and patterns show when they are opened."""
    path = local_path(uri)
    if path is not None:
        _status(path)


def _status(path: Path) -> os.stat_result | None:
    """Of what is at a path; None of a pattern. Raises InputError where there is nothing."""
    try:
        return path.stat()
    except OSError as error:
        if is_pattern(path):
            return None
        missing = isinstance(error, FileNotFoundError)
        what = "no such file or folder" if missing else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {what}; give a video, a folder of images, a camera or an address") from None


def _open_path(path: Path, settings: LiveSettings, read: ReadSettings) -> Source:
    """A file, folder, pattern or pipe."""
    status = _status(path)
    if status is None or (stat.S_ISDIR(status.st_mode) and not is_recording(path)):
        return _open_listed(path, settings, read)
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty; copy or record it again")
    refuse_part(path)
    if is_recording(path):
        return open_recorded(path, settings, read)
    _refuse_topic(str(path), read)
    if is_picture(path):
        return FolderSource(path, [path], pictures=True, read=read)
    return VideoSource(path, seekable=stat.S_ISREG(status.st_mode), read=read)


def _open_listed(path: Path, settings: LiveSettings, read: ReadSettings) -> Source:
    """A folder or pattern: its images, or its only video or recording."""
    listing = list_files(path)
    if listing.images:
        _refuse_topic(str(path), read)
        pictures = are_pictures(listing.images, read.images)
        return FolderSource(path, listing.images, pictures=pictures, read=read)
    if len(listing.videos) > 1:
        raise InputError(
            f"{path}: holds {len(listing.videos)} videos, and one source is one of them; name it, for example "
            f"{listing.videos[0]}"
        )
    return _open_path(listing.videos[0], settings, read)


def _refuse_topic(name: str, read: ReadSettings) -> None:
    if read.topic is not None:
        raise InputError(f"--topic {read.topic}: is of recordings of robots, and {name} is none; leave it out")
