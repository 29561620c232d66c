"""A web page with the live depth and the run's figures: Motion JPEG, so that any browser shows it."""

from __future__ import annotations

import hmac
import json
import os
import socket
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.address import host_and_port, is_loopback
from vmdepth_runtime.sinks.base import Sink, SinkFacts
from vmdepth_runtime.sources.base import SourceFrame
from vmdepth_runtime.sources.uri import scheme_of

TOKEN_VARIABLE = "VMDEPTH_TOKEN"
_PATIENCE = 5.0  # seconds that a connection waits for a frame before it looks whether the run is over
_BOUNDARY = "frame"
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>vmdepth</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px system-ui;margin:1rem;background:#111;color:#eee}img{max-width:100%%;display:block}
dl{display:flex;flex-wrap:wrap;gap:.3rem 2rem}dt{color:#999}dd{margin:0;font-variant-numeric:tabular-nums}</style>
<h1>vmdepth</h1><img src="stream.mjpg%(query)s" alt="source and depth, live"><dl id="figures"></dl>
<script>
const list = document.getElementById("figures");
async function update() {
  try {
    const figures = await (await fetch("status.json%(query)s")).json();
    list.replaceChildren(...Object.entries(figures).map(([name, value]) => {
      const [row, term, text] = ["div", "dt", "dd"].map(tag => document.createElement(tag));
      term.textContent = name; text.textContent = value; row.append(term, text); return row;
    }));
  } catch { list.textContent = "The run does not answer."; }
  setTimeout(update, 500);
}
update();
</script></html>"""


def address_of(uri: str) -> tuple[str, int]:
    """Host and port of "http://HOST:PORT".

    Raises:
        InputError: it is none, or of a host beyond this machine while no token is set.
    """
    address = host_and_port(uri)
    if address is None:
        raise InputError(f"{uri}: {PageSink.address}")
    if not is_loopback(address[0]) and not os.environ.get(TOKEN_VARIABLE):
        raise InputError(
            f"{uri}: would be open to the network; set {TOKEN_VARIABLE} to a secret, and the page is at "
            "http://HOST:PORT/?token=SECRET"
        )
    return address


class PageSink(Sink):
    """Serves `/` (the page), `/stream.mjpg` and `/status.json`. Whoever watches gets the newest frame; nobody holds the
    run up. Where the environment sets VMDEPTH_TOKEN, every request must bring it, as `?token=`."""

    example = "http://127.0.0.1:8080"
    remark = "a page"
    address = f"a page is http://HOST:PORT, for example {example}"
    needs_range = True
    wants_depth = False
    wants_colour = True
    for_eyes = True

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        super().__init__(target, facts)
        self.token = os.environ.get(TOKEN_VARIABLE, "")
        host, port = address_of(self.name)
        self.loopback = is_loopback(host)
        self._changed = Condition()
        self._picture: NDArray[np.uint8] | None = None
        self._number = 0
        self.over = False
        try:
            self._server = _Server((host, port), _handler(self))
        except OSError as error:
            raise InputError(f"{target}: cannot be served ({error.strerror}); choose another port") from None
        self.invitation = _invitation(host, port, has_token=bool(self.token))
        Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    @classmethod
    def accepts(cls, target: str) -> bool:
        return scheme_of(target) == "http"

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        address_of(target)

    def newest(self, after: int) -> tuple[int, NDArray[np.uint8] | None]:
        """The newest picture, RGB, and its number, as soon as that is above `after`; None when none comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > after or self.over, _PATIENCE)
            return self._number, self._picture if self._number > after else None

    def close(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        picture = self._beside_source(frame, colour)
        with self._changed:
            self._picture = picture
            self._number += 1
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser that stays is no reason to

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # a client that leaves, or asks for nonsense, is none of the run's


def _handler(page: PageSink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a connection may say nothing

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if not self._allowed(parse_qs(parts.query).get("token", [""])[0]):
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            if parts.path == "/":
                query = f"?{parts.query}" if page.token else ""
                self._answer("text/html; charset=utf-8", (_PAGE % {"query": _plain(query)}).encode())
            elif parts.path == "/status.json":
                self._answer("application/json", json.dumps(page.facts.status()).encode())
            elif parts.path == "/stream.mjpg":
                self._stream()
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _allowed(self, token: str) -> bool:
            if page.token:
                return hmac.compare_digest(token.encode(), page.token.encode())
            # Without a token only this machine may ask, and under its own name: a page elsewhere could have its name
            # resolved to this address (DNS rebinding).
            return page.loopback and is_loopback(urlsplit(f"//{self.headers.get('Host', '')}").hostname or "")

        def _answer(self, kind: str, content: bytes) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(content)

        def _stream(self) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            number = 0
            try:
                while not page.over:
                    number, picture = page.newest(number)
                    if picture is None:
                        continue
                    _, content = cv2.imencode(".jpg", picture[..., ::-1])
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                    self.wfile.write(head.encode() + content.tobytes() + b"\r\n")
            except OSError:
                return  # the browser has gone

        def log_message(self, format: str, *args: Any) -> None:
            return  # requests hold the token

    return Handler


def _invitation(host: str, port: int, *, has_token: bool) -> str:
    """The token itself is never printed: what a run says may end up in a log."""
    everywhere = host in ("0.0.0.0", "::")
    shown = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    if has_token:
        return f"open http://{shown}:{port}/?token=… in a browser, where … is the value of {TOKEN_VARIABLE}"
    return f"open http://{shown}:{port} in a browser"


def _plain(query: str) -> str:
    """A query that cannot break out of the page's quotes."""
    return "".join(c for c in query if c.isalnum() or c in "?=&%._~-")
