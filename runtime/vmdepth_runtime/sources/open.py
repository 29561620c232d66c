"""Sources by what they are called: `open_source`."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.folder import FolderSource, files_of_pattern
from vmdepth_runtime.sources.live import WAITS, LiveSource
from vmdepth_runtime.sources.live_readers import ContainerReader, GstreamerReader, open_address, open_device
from vmdepth_runtime.sources.refusals import NoAnswerError
from vmdepth_runtime.sources.settings import LiveSettings
from vmdepth_runtime.sources.uri import NETWORK, camera_of, redacted, scheme_of
from vmdepth_runtime.sources.video import VideoSource


def open_source(
    source: str | Path, live: LiveSettings | None = None, *, waiting: Callable[[str], None] | None = None
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
        source: a video file, a folder of images, a pattern of image files ("frames/*.png", "frames/%06d.png"), a pipe
            such as /dev/stdin; a camera ("0", "/dev/video0", "v4l2:///dev/video0", "csi://0"); a network stream (rtsp,
            rtmp, http); "demo" is the bundled clip.
        live: how a camera or network stream is held on to; None: the defaults of `LiveSettings`.
        waiting: gets a line for each reason why a camera, or a stream by rtsp or rtmp, does not answer yet; it is then
            tried again, as often as `live` says. None: it is an error at once.

    Returns:
        The open source, to be closed (`with`). Its frames come once.

    Raises:
        InputError: nothing can be read from it; names the source, without credentials, and what to do.
    """
    uri, settings = str(source), live or LiveSettings()
    attempts, told = 0, ""
    while True:
        try:
            return _open(uri, settings)
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


def _open(uri: str, settings: LiveSettings) -> Source:
    if not uri:
        raise InputError("a source is empty; give a video, a folder of images, a camera or an address")
    scheme, device = scheme_of(uri), camera_of(uri)
    if scheme in NETWORK:
        return _open_network(uri, settings)
    if device is not None:
        reopen = partial(open_device, device, uri, settings.stall)
        return LiveSource(uri, reopen, settings, first=reopen())
    if scheme == "csi":
        return _open_csi(uri, settings)
    if scheme is not None and scheme != "file":
        known = ", ".join(f"{name}://" for name in (*NETWORK, "v4l2", "csi", "file"))
        raise InputError(f"{redacted(uri)}: unknown scheme '{scheme}://'; there are {known}, and plain paths")
    return _open_path(bundled.CLIP if uri == "demo" else Path(uri.removeprefix("file://")))


def _open_network(uri: str, settings: LiveSettings) -> Source:
    """Live, unless it is a file on a web server, which says how long it is."""
    container, stream = open_address(uri, settings.stall)
    if scheme_of(uri) in ("http", "https") and container.duration:
        reopen = partial(open_address, uri, settings.stall)
        return VideoSource(
            Path(redacted(uri)), seekable=True, address=redacted(uri), reopen=reopen, opened=(container, stream)
        )
    return LiveSource(
        uri,
        lambda: ContainerReader(*open_address(uri, settings.stall), settings.stall),
        settings,
        first=ContainerReader(container, stream, settings.stall),
    )


def _open_csi(uri: str, settings: LiveSettings) -> Source:
    number = uri.partition("://")[2] or "0"
    if not number.isdigit():
        raise InputError(f"{redacted(uri)}: a CSI camera is csi:// and its number, for example csi://0")
    reopen = partial(GstreamerReader, int(number), settings.stall)
    return LiveSource(uri, reopen, settings, first=reopen())


def _open_path(path: Path) -> Source:
    """A file, folder, pattern or pipe."""
    try:
        status = path.stat()
    except OSError as error:
        files = files_of_pattern(path)
        if files is not None:
            return FolderSource(path, files)
        missing = isinstance(error, FileNotFoundError)
        what = "no such file or folder" if missing else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {what}; give a video, a folder of images, a camera or an address") from None
    if stat.S_ISDIR(status.st_mode):
        return FolderSource(path)
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty; copy or record it again")
    return VideoSource(path, seekable=stat.S_ISREG(status.st_mode))
