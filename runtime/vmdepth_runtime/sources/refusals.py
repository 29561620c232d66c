"""Why a camera or an address does not open, in words, and whether it is worth trying again."""

from __future__ import annotations

import errno
import socket
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import av

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.uri import NETWORK, is_unclear, redacted, scheme_of, sendable

_WEB = ("http", "https")
_PAGES = ("text/html", "application/xhtml+xml")
_ENCODE = "; in a user or password write @ as %40, / as %2F, ? as %3F, # as %23 and : as %3A"
_ASKING = 5.0  # seconds that a server may take to say what an address is
# What a camera or server answers that is away, starting or busy.
_AWAY = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE}
_AWAY |= {errno.ETIMEDOUT, errno.EBUSY, errno.EIO}


class NoAnswerError(InputError):
    """A camera or stream that does not answer now, though it may later."""


def refusal(uri: str, error: BaseException) -> InputError:
    """What to raise for a camera or an address that does not open.

    Args:
        uri: as the user wrote it; may hold credentials, which the text does not.
        error: of PyAV.

    Returns:
        A `NoAnswerError` where it may open later: all but web addresses, which are files more often than streams.
    """
    name, scheme = redacted(uri), scheme_of(uri)
    encode = _ENCODE if scheme in NETWORK and is_unclear(uri) else ""
    if isinstance(error, av.error.ProtocolNotFoundError):
        return InputError(
            f"{name}: the FFmpeg in this PyAV has no {scheme}://; run 'ffmpeg -i ADDRESS -c copy -f mpegts "
            f"udp://127.0.0.1:5000' with one that has it, and give udp://127.0.0.1:5000"
        )
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return InputError(f"{name}: cannot be opened ({reason_of(error)}); check user and password{encode}")
    if scheme in NETWORK and not isinstance(error, av.error.HTTPClientError):
        if _names_no_host(uri):
            return InputError(f"{name}: cannot be opened (there is no host of that name); check the address{encode}")
        if scheme in _WEB and _is_page(uri):
            return InputError(
                f"{name}: is a web page, not a video; download its video first, as yt-dlp does for video sites, and "
                "give the file"
            )
    away = isinstance(error, av.error.ExitError | av.error.EOFError | av.error.HTTPServerError)
    away = away or getattr(error, "errno", None) in _AWAY
    kind = NoAnswerError if away and scheme not in _WEB else InputError
    busy = getattr(error, "errno", None) == errno.EBUSY
    hint = "is another program using it?" if busy else f"check the address{encode}"
    hint = "check its permissions" if getattr(error, "errno", None) == errno.EACCES else hint
    hint = "is anything sent there?" if away and scheme == "udp" else hint
    return kind(f"{name}: cannot be opened ({reason_of(error)}); {hint}")


def reason_of(error: BaseException) -> str:
    """Without the address, which the error's own text may hold."""
    if isinstance(error, av.error.ExitError):
        return "nothing came for too long"
    return getattr(error, "strerror", None) or type(error).__name__


def _names_no_host(uri: str) -> bool:
    """Whether it is known that there is no host of the address's name. It is not told: it may be what FFmpeg takes for
    the host in a password with a slash."""
    try:
        host = urlsplit(sendable(uri)).hostname
        if host is None and scheme_of(uri) in ("udp", "srt"):
            return False  # which listen on all of this machine's addresses
        socket.getaddrinfo(host or "", None)
    except socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
    except ValueError:  # no address at all
        return True
    return False


def _is_page(uri: str) -> bool:
    """Whether a server says that an address is a page for people."""
    try:
        parts = urlsplit(sendable(uri))
        asked = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # urllib takes no credentials there
        with urlopen(Request(asked, headers={"User-Agent": "vmdepth"}), timeout=_ASKING) as answer:
            return answer.headers.get_content_type() in _PAGES
    except (URLError, HTTPException, OSError, ValueError):
        return False
