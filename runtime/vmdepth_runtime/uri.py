"""What a source is called: schemes, cameras by number, and names that are safe to print."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

NETWORK = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme_of(uri: str) -> str | None:
    """ "rtsp" of "rtsp://…", in lower case; None for a path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else None


def redacted(uri: str) -> str:
    """The address without what may be secret: user and password, and the values of its query."""
    if scheme_of(uri) is None:
        return uri
    # The last @ before the path ends the password, which may hold an @ itself.
    uri = re.sub(r"^([^:]+://)[^/?#]*@", r"\1***@", uri)
    address, question, query = uri.partition("?")
    return address + question + re.sub(r"=[^&#]*", "=***", query)


def camera_of(uri: str) -> str | None:
    """The device of "0", "/dev/video0", "v4l2:///dev/video0" or "v4l2://0"; None for anything else."""
    rest = uri[len("v4l2://") :] if scheme_of(uri) == "v4l2" else uri
    if rest.isdigit():
        return f"/dev/video{rest}"
    if scheme_of(uri) == "v4l2" or re.fullmatch(r"/dev/video\d+", rest):
        return rest
    return None


def short_name(uri: str) -> str:
    """What files that belong to a source are named after: the last part of its path without the ending, or its host."""
    if scheme_of(uri) is not None:
        parts = urlsplit(redacted(uri))
        name = Path(parts.path).stem or parts.hostname or ""
    else:
        path = Path(uri)
        name = path.resolve().name if path.is_dir() else path.stem
    return re.sub(r"[*?%\[\]@:]+", "_", name) or "source"
