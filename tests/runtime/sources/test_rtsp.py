"""A real RTSP server, killed and started again."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vmdepth_runtime import LiveSettings, open_source

QUICK = LiveSettings(max_gap=1.0, stall=1.5)

_RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_address("127.0.0.1"); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 "
                   "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 )")
server.get_mount_points().add_factory("/cam", factory); server.attach(None)
print("ready", flush=True); GLib.MainLoop().run()
"""
_SYSTEM_PYTHON = "/usr/bin/python3"


def _has_rtsp_server() -> bool:
    code = 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer'
    try:
        return subprocess.run([_SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def rtsp_server(port: int) -> Iterator[None]:
    words = [_SYSTEM_PYTHON, "-c", _RTSP_SERVER, str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        process.kill()


@pytest.mark.skipif(not _has_rtsp_server(), reason="needs gst-rtsp-server (gir1.2-gst-rtsp-server-1.0, python3-gi)")
def test_rtsp_resumes_within_5_seconds_of_the_servers_return():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with rtsp_server(port):
        source = open_source(f"rtsp://user:secret@127.0.0.1:{port}/cam", QUICK)
        frames = iter(source)
        for _ in range(30):
            next(frames)
    time.sleep(2.0)
    with source, rtsp_server(port):
        back = time.perf_counter()
        resumed = next(frame for frame in frames if frame.discontinuity)
        assert resumed.arrived - back < 5.0
        assert all("secret" not in line for line in [source.name, *source.warnings])
