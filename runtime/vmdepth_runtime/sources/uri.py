"""What a source is called: schemes, cameras by number, and names that are safe to print."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vmdepth_runtime.sources.listing import is_pattern, plain

NETWORK = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "srt")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = re.compile(r"/dev/(video\d+|v4l/by-(id|path)/.+)")


def scheme_of(uri: str) -> str | None:
    """ "rtsp" of "rtsp://…", in lower case; None for a path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else None


def redacted(uri: str) -> str:
    """The address without what may be secret: user, password and query. Passwords may hold any sign, so all up to the
    last @ goes; what a camera of this machine is asked for stays."""
    if scheme_of(uri) in (None, "file", "v4l2", "csi"):
        return uri
    address, question, _ = re.sub(r"^([^:]+://).+@", r"\1***@", uri).partition("?")
    return f"{address}?***" if question else address


def sendable(uri: str) -> str:
    """The address with a user and password that FFmpeg finds the end of, and which servers get as they were written.

    FFmpeg and the rules for addresses (RFC 3986, section 3.2) take a host to end at the first of / ? #. A password with
    one of those is told by its colon, behind which no port follows: "rtsp://me:a/b@camera/1". Its signs are then
    percent-encoded. What could as well be a host and its port is left as it is.
    """
    scheme, _, rest = uri.partition("://")
    if re.match(r"(?!\[)[^/?#@]*:(?!\d*[/?#])[^@/?#]*[/?#].*@", rest) is None:
        return uri
    end = re.match(r"[^@]*@(?:[^/?#]*@)?", rest)
    assert end is not None
    user = re.sub(r"[/?#@]", lambda sign: f"%{ord(sign[0]):02X}", end[0][:-1])
    return f"{scheme}://{user}@{rest[end.end() :]}"


def is_unclear(uri: str) -> bool:
    """Whether a user or password in an address may have been taken for something else, or the other way round."""
    secret = uri.partition("://")[2].rpartition("@")[0]
    return bool(re.search(r"[@/?#]|:.*:", secret))


def path_of(uri: str) -> Path:
    """The path that a plain path or a file:// address means, the home folder in place of "~".

    Addresses are those of RFC 8089: "localhost" is this machine, and percent-escapes stand for signs. Where no such
    file is there and one is as the address is written, it is that one, so that "file://frames/%06d.png" is a pattern.
    """
    if scheme_of(uri) != "file":
        return Path(os.path.expanduser(uri))  # noqa: PTH111 (which leaves what is no user's home)
    rest = re.sub(r"^localhost(?=/)", "", uri[len("file://") :], flags=re.IGNORECASE)
    written, meant = Path(rest), Path(unquote(rest.replace("%00", "%2500")))  # which stands for no sign of a path
    as_written = not os.path.exists(meant) and (os.path.exists(written) or is_pattern(written))  # noqa: PTH110 (which never raises)
    return written if as_written else meant


def local_path(uri: str) -> Path | None:
    """The file, folder or pattern that a source means; None for cameras, addresses, the bundled clip, and nothing."""
    if uri in ("", "demo") or camera_of(uri) is not None or scheme_of(uri) not in (None, "file"):
        return None
    return path_of(uri)


def camera_of(uri: str) -> str | None:
    """The device of "0", "/dev/video0", "/dev/v4l/by-id/…", "v4l2://0", each with or without what it is asked for, as
    in "v4l2:///dev/video0?fps=30"; None for anything else."""
    own = scheme_of(uri) == "v4l2"
    rest, _, asked = (uri[len("v4l2://") :] if own else uri).partition("?")
    if not own and asked and "=" not in asked:
        return None  # a pattern
    if rest.isdecimal():
        return f"/dev/video{rest}"
    return rest if own or _DEVICE.fullmatch(rest) else None


def short_name(uri: str) -> str:
    """What files that belong to a source are named after: the last part of its path without the ending, or its host; of
    a pattern its folder."""
    if scheme_of(uri) not in (None, "file"):
        address = redacted(uri)
        try:
            parts = urlsplit(address)
        except ValueError:  # a bracket too many: whoever opens it says that there is no such host
            return plain(address)
        return plain(Path(parts.path).stem or parts.hostname or "")
    path = path_of(uri if camera_of(uri) is None else uri.partition("?")[0])
    if is_pattern(path):
        path = path.parent
    return plain(path.resolve().name if os.path.isdir(path) else path.stem)  # noqa: PTH112 (which never raises)
