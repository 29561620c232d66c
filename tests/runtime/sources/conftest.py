"""Files read to their end, what holds for the frames of every one of them, and a camera on the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from vmdepth_runtime import open_source


@pytest.fixture(scope="session")
def read() -> Callable[[Path], tuple[Any, list[Any]]]:
    """`read(path)`: the source, and all its frames."""

    def source_and_frames(path: Path) -> tuple[Any, list[Any]]:
        with open_source(path) as source:
            frames = list(source)
        return source, frames

    return source_and_frames


@pytest.fixture(scope="session")
def assert_in_step() -> Callable[[Any, Sequence[Any]], None]:
    """`assert_in_step(source, frames)`: every frame has the announced shape; indices and times rise."""

    def check(source: Any, frames: Sequence[Any]) -> None:
        for frame in frames:
            assert frame.image.dtype == np.uint8
            assert frame.image.shape == (source.info.height, source.info.width, 3)
            assert frame.image.flags.c_contiguous
        assert (np.diff([f.index for f in frames]) > 0).all()
        assert (np.diff([f.time for f in frames]) > 0).all()

    return check


class CameraServer:
    """A camera on the network: MPEG-TS over HTTP, a frame every 1/30 s, to whoever asks, as long as it runs."""

    def __init__(self, stream: bytes) -> None:
        # In MPEG-TS a frame begins with a packet of the video's (FFmpeg's PID 256) that says so.
        starts = [n for n in range(0, len(stream), 188) if stream[n + 1 : n + 3] == b"\x41\x00"]
        self._frames = [stream[start:end] for start, end in pairwise([0, *starts[1:], len(stream)])]
        self.asked: list[str] = []
        self._server: ThreadingHTTPServer | None = None
        self._end = Event()
        self.still = Event()  # set: it holds the connection, and sends nothing
        self.refusals: list[int] = []  # HTTP statuses that the next requests get
        self.port = 0

    def start(self) -> None:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.asked.append(self.path)
                if camera.refusals:
                    self.send_error(camera.refusals.pop(0))
                    return
                end = camera._end
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                due = time.perf_counter()
                try:
                    for frame in camera._frames:
                        while camera.still.is_set() and not end.is_set():
                            time.sleep(0.02)
                        due = max(due + 1 / 30, time.perf_counter() - 1 / 30)
                        if end.wait(max(0.0, due - time.perf_counter())):
                            return
                        self.wfile.write(frame)
                except OSError:
                    return

            def log_message(self, *_: object) -> None:
                return

        self._end = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, daemon=True).start()

    def hang_up(self) -> None:
        """Break off what it is sending; whoever asks again is answered."""
        self._end.set()
        self._end = Event()

    def stop(self) -> None:
        self._end.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.ts"


@pytest.fixture(scope="session")
def camera() -> Callable[..., AbstractContextManager[CameraServer]]:
    """`camera(folder, make, seconds)`: a `CameraServer` that runs while it is entered. folder: for its stream."""

    @contextmanager
    def serve(folder: Path, make: Any, seconds: float = 20.0) -> Iterator[CameraServer]:
        images = make.noise(int(seconds * 30))
        server = CameraServer(make.video(folder / "live.ts", images, codec="mpeg2video").read_bytes())
        server.start()
        try:
            yield server
        finally:
            server.stop()

    return serve
