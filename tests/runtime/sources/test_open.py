"""Sources by what they are called: what is opened, what is refused, and that nothing secret is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from vmdepth_runtime import InputError, LiveSettings, open_source

QUICK = LiveSettings(max_gap=1.0, stall=1.5)


def test_what_cannot_be_opened_is_one_line_without_secrets():
    for uri, message in [
        ("rtsp://admin:hunter2@127.0.0.1:9/cam?key=hunter2", "cannot be opened (Connection refused)"),
        ("rtsp://admin:hunter/2@127.0.0.1:9/cam", "cannot be opened"),
        ("rtsp://admin:hunter#2@127.0.0.1:9/cam", "cannot be opened"),
        ("http://127.0.0.1:9/cam?hunter2", "cannot be opened (Connection refused)"),
        ("http://admin:hun@ter2@127.0.0.1:9/a.m3u8?token=hunter2&x=1", "cannot be opened (Connection refused)"),
        ("gopher://x/y?a=hunter2", "unknown scheme 'gopher://'; there are rtsp://"),
        ("csi://0", "built without GStreamer"),
        ("csi://front", "a CSI camera is csi:// and its number"),
        ("csi://²", "a CSI camera is csi:// and its number"),
        ("file:///%00.mp4", "%00.mp4: no such file or folder"),
        ("/dev/video97", "no such camera; "),
        ("97", "no such camera; "),
        ("v4l2:///dev/video97", "no such camera; "),
        ("nothing/%06d.png", "there is no such file"),
        ("nothing-*.png", "there is no such file"),
    ]:
        with pytest.raises(InputError) as error:
            open_source(uri, QUICK)
        assert message in str(error.value)
        assert "hunter" not in str(error.value)
        assert "\n" not in str(error.value)


@contextmanager
def web_server() -> Iterator[str]:
    """Pages at every address but those that end in a number, which is the status they answer with."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = self.path[-3:]
            if status.isdigit():
                self.send_error(int(status))
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<!doctype html><html><body><p>Watch it here</p></body></html>")

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_web_address_that_is_no_video_is_told_by_what_it_is():
    page = "is a web page, not a video; download its video first, as yt-dlp does"
    with web_server() as host:
        for uri, message in [
            (f"http://{host}/watch?v=hunter2", f"http://{host}/watch?***: {page}"),
            (f"http://me:hunter2@{host}/watch", f"http://***@{host}/watch: {page}"),
            (f"http://{host}/@me/watch", page),
            (f"http://{host}/404", f"http://{host}/404: cannot be opened (Server returned 404 Not Found); check the"),
            (f"http://{host}/401", "(Server returned 401 Unauthorized (authorization failed)); check user and passw"),
            (f"http://{host}/500", "Server Error reply); check the address"),
            ("http://nothere.invalid/a.mp4", "(there is no host of that name); check the address"),
            ("rtsp://nothere.invalid/a", "rtsp://nothere.invalid/a: cannot be opened (there is no host of that name)"),
        ]:
            told: list[str] = []
            with pytest.raises(InputError) as error:
                open_source(uri, QUICK, waiting=told.append)
            assert message in str(error.value)
            assert "hunter" not in str(error.value)
            assert not told  # what does not come by waiting is not waited for


def test_a_stream_that_does_not_answer_at_first_is_tried_again_and_told_once():
    told: list[str] = []
    uri = "rtsp://admin:hunter2@127.0.0.1:9/cam"
    refused = "rtsp://***@127.0.0.1:9/cam: cannot be opened (Connection refused); check the address"
    with pytest.raises(InputError) as error:
        open_source(uri, LiveSettings(retries=2), waiting=told.append)
    assert str(error.value) == f"{refused}; given up after trying 2 times again, --retries allows more"
    assert told == [f"{refused}; trying again, Ctrl-C ends it"]


def test_patterns_name_files_in_natural_order(tmp_path, make):
    for k, image in enumerate(make.noise(12)):
        make.image(tmp_path / f"f{k:06d}.png", image)
    make.image(tmp_path / "f12.png", make.noise(1)[0])
    make.image(tmp_path / "g000000.png", make.noise(1)[0])
    for pattern, count in (("f%06d.png", 12), ("f%d.png", 13), ("f0*.png", 12), ("[fg]*.png", 14)):
        with open_source(str(tmp_path / pattern)) as source:
            assert len(list(source)) == count
