"""Where outputs that are watched over a network listen."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_and_port(uri: str) -> tuple[str, int] | None:
    """Of "scheme://HOST:PORT"; None of anything else."""
    parts = urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None or parts.path not in ("", "/"):
        return None
    return parts.hostname, port


def is_loopback(host: str) -> bool:
    """Whether what listens there hears this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
