"""Addresses as people have them: passwords of any signs, streams that are sent to this machine, files by file://."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import av
import numpy as np
import pytest

from vmdepth_runtime import InputError, LiveSettings, open_source
from vmdepth_runtime.depth.picture_input import as_frame
from vmdepth_runtime.sources.open import check_source

QUICK = LiveSettings(max_gap=1.0, stall=1.5)


@contextmanager
def guarded_server(content: bytes, secret: str) -> Iterator[str]:
    """One video, at every path, for who knows the user and password."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == "Basic " + base64.b64encode(secret.encode()).decode()
            self.send_response(200 if known else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(content) * known))
            self.end_headers()
            if known:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            return  # who has seen enough hangs up

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("password", ["hunter2", "hun@ter", "hun/t#e?r", "hun:ter", "hun#t@er"])
def test_a_password_of_any_signs_is_used_as_given(tmp_path, make, password):
    path = make.video(tmp_path / "v.mp4", make.noise(3), movflags="+faststart")
    with (
        guarded_server(path.read_bytes(), f"me:{password}") as host,
        open_source(f"http://me:{password}@{host}/front/v.mp4?x=@y") as source,
    ):
        assert len(list(source)) == 3
        assert "hun" not in source.name


def test_where_signs_may_mean_something_else_a_line_says_how_to_write_them(tmp_path, make):
    path = make.video(tmp_path / "v.mp4", make.noise(3), movflags="+faststart")
    line = "in a user or password write @ as %40, / as %2F, ? as %3F, # as %23 and : as %3A"
    with guarded_server(path.read_bytes(), "me:1/hun@ter/2") as host:
        # As good as the host "me", port 1; or as the user "me" at the host "hun".
        for uri in (f"http://me:1/hun@ter/2@{host}/v.mp4", f"http://me:hun@ter.invalid/2@{host}/v.mp4"):
            with pytest.raises(InputError) as error:
                open_source(uri)
            assert str(error.value).endswith(f"; check the address; {line}")
            assert "hun" not in str(error.value)
        with pytest.raises(InputError, match=r"Unauthorized.*; check user and password$"):
            open_source(f"http://me:hunter@{host}/v.mp4")
        with open_source(f"http://me:1%2Fhun%40ter%2F2@{host}/v.mp4") as source:
            assert len(list(source)) == 3


@contextmanager
def sender(port: int, images) -> Iterator[None]:
    """MPEG-TS by UDP to a port of this machine, 30 frames a second, over and over."""
    stop = Event()

    def send() -> None:
        with av.open(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as container:
            stream = container.add_stream("mpeg2video", rate=30, options={"g": "5", "bf": "0"})
            stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "yuv420p"
            for pts in range(10_000):
                frame = av.VideoFrame.from_ndarray(images[pts % len(images)]).reformat(format="yuv420p")
                frame.pts, frame.time_base = pts, Fraction(1, 30)
                container.mux(stream.encode(frame))
                if stop.wait(1 / 30):
                    return

    thread = Thread(target=send)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_a_stream_by_udp_is_live(make):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    images = np.repeat(np.linspace(40, 200, 5).astype(np.uint8), 48 * 64 * 3).reshape(5, 48, 64, 3)
    with sender(port, images), open_source(f"udp://127.0.0.1:{port}", QUICK) as source:
        source.wanted = 12
        frames = list(source)
        assert source.live
        assert (source.info.width, source.info.height, source.name) == (64, 48, f"udp://127.0.0.1:{port}")
    assert len(frames) == 12
    assert not any(frame.discontinuity for frame in frames)
    levels = [frame.image.mean() for frame in frames]
    assert max(np.abs(np.linspace(40, 200, 5) - level).min() for level in levels) < 6  # pictures that were sent
    assert max(levels) - min(levels) > 100


def test_what_is_wrong_with_an_address_that_is_sent_to():
    with pytest.raises(InputError, match=r"^udp://239.0.0.1: says no port; give the one that is sent to, as in udp://"):
        open_source("udp://239.0.0.1")
    for impossible in ("udp://@:99999", "rtsp://me:hunter2@127.0.0.1:70000/a"):
        with pytest.raises(InputError, match=r"(@:99999|\*\*\*@127\.0\.0\.1:70000/a): ports are 1 to 65535") as refused:
            open_source(impossible, waiting=pytest.fail)
        assert "hunter" not in str(refused.value)
    told: list[str] = []
    with pytest.raises(InputError, match=r"^srt://\*\*\*@127.0.0.1:9\?\*\*\*: "):
        open_source("srt://me:hunter2@127.0.0.1:9?passphrase=hunter2", LiveSettings(retries=0), waiting=told.append)
    assert "hunter" not in "".join(told)


def test_a_file_address_is_a_path(tmp_path, make):
    (tmp_path / "a day é").mkdir()
    video = make.video(tmp_path / "a day é" / "50% off#1.mp4", make.noise(3))
    picture = make.image(tmp_path / "photo 1.png", make.noise(1)[0])
    for uri in (
        video.as_uri(),  # all signs that need it are escaped
        video.as_uri().replace("file://", "file://localhost"),
        video.as_uri().replace("file://", "file://LocalHost"),
        f"file://{video}",  # none are
    ):
        check_source(uri)
        with open_source(uri) as source:
            assert len(list(source)) == 3
    assert as_frame(picture.as_uri(), "rgb").shape == (48, 64, 3)
    for number in range(3):
        make.image(tmp_path / f"{number:06d}.png", make.noise(1)[0])
    with open_source(f"file://{tmp_path}/%06d.png") as source:
        assert len(list(source)) == 3
    with pytest.raises(InputError, match=r"/no such\.mp4: no such file or folder; "):
        open_source(f"file://localhost{tmp_path}/no%20such.mp4")


def test_the_home_folder_is_known(tmp_path, make, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make.video(tmp_path / "v.mp4", make.noise(3))
    for uri in ("~/v.mp4", "~/v*.mp4", "~"):
        with open_source(uri) as source:
            assert len(list(source)) == 3
    monkeypatch.chdir(tmp_path)
    make.video(tmp_path / "~v.mp4", make.noise(2))  # what no user's home begins with is a name
    with open_source("~v.mp4") as source:
        assert len(list(source)) == 2
