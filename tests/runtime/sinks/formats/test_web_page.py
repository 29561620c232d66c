"""The page: moving pictures and figures for this machine, and for others only with the token."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from threading import Event, Thread

import cv2
import numpy as np
import pytest

from vmdepth_runtime import InputError, SinkFacts, SourceFrame, VideoInfo, open_sink
from vmdepth_runtime.sinks.open import check_output

INFO = VideoInfo(64, 48, None, 30.0, Fraction(1, 30))


@contextmanager
def served(port, host="127.0.0.1", *, counts=True):
    """A page that is fed 30 frames a second, each a little brighter. counts: whether its figures change, too."""
    end, count = Event(), [0]

    def status():
        return {"frames/s": 30.0, **({"frames": count[0]} if counts else {})}

    with open_sink(f"http://{host}:{port}", SinkFacts(INFO, status=status)) as sink:

        def feed():
            while not end.wait(1 / 30):
                image = np.full((48, 64, 3), 3 * count[0] % 256, np.uint8)
                sink.write(SourceFrame(count[0], 0.0, image), np.zeros((48, 64), np.float32), image)
                count[0] += 1

        thread = Thread(target=feed)
        thread.start()
        try:
            yield port
        finally:
            end.set()
            thread.join()


@pytest.fixture
def page(free_port):
    return partial(served, free_port)


def get(address, host=None):
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    return urllib.request.urlopen(request, timeout=5)


def pictures(address, count):
    with get(address) as answer:
        assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        for _ in range(count):
            head = {}
            assert answer.readline() == b"--frame\r\n"
            while line := answer.readline().strip():
                name, _, value = line.partition(b": ")
                head[name] = value
            content = answer.read(int(head[b"Content-Length"]))
            answer.readline()
            yield cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


def test_pictures_move_and_figures_are_told(page):
    with page() as port:
        address = f"http://127.0.0.1:{port}"
        levels = [float(picture.mean()) for picture in pictures(f"{address}/stream.mjpg", 5)]
        assert (np.diff(levels) > 1).all()
        first, second = (json.load(get(f"{address}/status.json"))["frames"] for _ in range(2))
        assert 0 < first <= second
        body = get(f"{address}/").read().decode()
        assert 'src="stream.mjpg"' in body
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{address}/etc/passwd")


def test_source_and_depth_are_side_by_side(page):
    with page() as port:
        assert next(pictures(f"http://127.0.0.1:{port}/stream.mjpg", 1)).shape == (48, 128, 3)


def test_another_name_for_this_machine_is_refused(page):
    with page() as port, pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"http://127.0.0.1:{port}/", host="evil.example")


def test_beyond_this_machine_only_with_the_token(page, monkeypatch):
    with pytest.raises(InputError, match="would be open to the network; set VMDEPTH_TOKEN"):
        check_output("http://0.0.0.0:8080")
    monkeypatch.setenv("VMDEPTH_TOKEN", "s3cret")
    with page("0.0.0.0") as port:
        outside = socket.gethostbyname(socket.gethostname())  # another interface, where this machine has one
        for address in {f"http://{outside}:{port}", f"http://127.0.0.1:{port}"}:
            for path in ("/", "/stream.mjpg", "/status.json", "/?token=wrong", "/?token="):
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    get(address + path)
            assert 'src="stream.mjpg?token=s3cret"' in get(f"{address}/?token=s3cret").read().decode()
            assert json.load(get(f"{address}/status.json?token=s3cret"))["frames/s"] == 30.0


def test_people_are_told_where_it_is_but_never_the_token(free_port, monkeypatch):
    port = free_port
    with open_sink(f"http://127.0.0.1:{port}", SinkFacts(INFO)) as sink:
        assert sink.invitation == f"open http://127.0.0.1:{port} in a browser"
    monkeypatch.setenv("VMDEPTH_TOKEN", "s3cret")
    with open_sink(f"http://0.0.0.0:{port}", SinkFacts(INFO)) as sink:
        assert sink.invitation.startswith(f"open http://{socket.gethostname()}:{port}/?token=… in a browser")
        assert "s3cret" not in sink.invitation


@pytest.mark.parametrize(
    "uri", ["https://127.0.0.1:1", "http://127.0.0.1", "http://:80", "ftp://x:1", "http://h:99999"]
)
def test_addresses_that_are_none(uri):
    with pytest.raises(InputError, match="a page is http://HOST:PORT"):
        check_output(uri)


def test_a_port_that_is_taken(page):
    with page() as port, pytest.raises(InputError, match=r"cannot be served .*; choose another port"):
        open_sink(f"http://127.0.0.1:{port}", SinkFacts(INFO))


def test_a_browser_that_stays_does_not_hold_the_end_up(page):
    with page() as port:
        answer = get(f"http://127.0.0.1:{port}/stream.mjpg")
        answer.readline()
    answer.close()


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_chromium_shows_pictures_that_move_and_figures(page, tmp_path):
    """Screenshots of a page whose figures stand still differ, so its picture moves; the figures are in its text."""
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    words += [
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    shots = []
    with page(counts=False) as port:
        address = f"http://127.0.0.1:{port}/"
        for number in range(4):  # two may happen to be of the same brightness
            shot = tmp_path / f"{number}.png"
            command = [*words, "--timeout=2000", f"--screenshot={shot}", "--window-size=400,300", address]
            subprocess.run(command, capture_output=True, timeout=60, check=True)
            shots.append(cv2.imread(str(shot)).tobytes())
        for limit in (2000, 8000, 30_000):  # milliseconds that it has for its script
            command = [*words, f"--timeout={limit}", "--dump-dom", address]
            shown = subprocess.run(command, capture_output=True, timeout=60).stdout
            if b"frames/s</dt><dd>30</dd>" in shown:
                break
    assert b"frames/s</dt><dd>30</dd>" in shown
    assert len(set(shots)) > 1
