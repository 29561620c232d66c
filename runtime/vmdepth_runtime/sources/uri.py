"""What a source is called: schemes, cameras by number, and names that are safe to print."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from vmdepth_runtime.sources.listing import is_pattern, plain

NETWORK = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme_of(uri: str) -> str | None:
    """ "rtsp" of "rtsp://…", in lower case; None for a path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else None


def redacted(uri: str) -> str:
    """The address without what may be secret: user, password and query. Passwords may hold any sign, so all up to the
    last @ goes."""
    if scheme_of(uri) is None:
        return uri
    address, question, _ = re.sub(r"^([^:]+://).*@", r"\1***@", uri).partition("?")
    return f"{address}?***" if question else address


def local_path(uri: str) -> Path | None:
    """The file, folder or pattern that a source means; None for cameras, addresses, the bundled clip, and nothing."""
    if uri in ("", "demo") or camera_of(uri) is not None or scheme_of(uri) not in (None, "file"):
        return None
    return Path(uri.removeprefix("file://"))


def camera_of(uri: str) -> str | None:
    """The device of "0", "/dev/video0", "v4l2:///dev/video0" or "v4l2://0"; None for anything else."""
    rest = uri[len("v4l2://") :] if scheme_of(uri) == "v4l2" else uri
    if rest.isdigit():
        return f"/dev/video{rest}"
    if scheme_of(uri) == "v4l2" or re.fullmatch(r"/dev/video\d+", rest):
        return rest
    return None


def short_name(uri: str) -> str:
    """What files that belong to a source are named after: the last part of its path without the ending, or its host; of
    a pattern its folder."""
    if scheme_of(uri) not in (None, "file"):
        parts = urlsplit(redacted(uri))
        return plain(Path(parts.path).stem or parts.hostname or "")
    path = Path(uri.removeprefix("file://"))
    if is_pattern(path):
        path = path.parent
    return plain(path.resolve().name if os.path.isdir(path) else path.stem)  # noqa: PTH112 (which never raises)
