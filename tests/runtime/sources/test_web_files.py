"""Videos on a web server are files, which end, and no live sources."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from vmdepth_runtime import InputError, open_source


@contextmanager
def serving(content: bytes) -> Iterator[str]:
    """A web server that sends this whole, whatever is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_file_on_a_server_that_cannot_send_parts_is_named_with_its_whole_address(tmp_path, make):
    images = np.random.default_rng(0).integers(0, 255, (20, 240, 320, 3), np.uint8)
    content = make.video(tmp_path / "v.mp4", images).read_bytes()  # whose index is at its end, megabytes away
    with serving(content) as address, pytest.raises(InputError) as error:
        open_source(f"{address}/v.mp4")
    assert str(error.value).startswith(f"{address}/v.mp4: not one frame of it can be read; its server may be unable")


def test_a_file_on_a_web_server_is_no_live_source(tmp_path, make):
    content = make.video(tmp_path / "v.mp4", make.noise(40), movflags="+faststart").read_bytes()
    with serving(content) as address, open_source(f"{address}/v.mp4") as source:
        assert not source.live
        assert len(list(source)) == 40
