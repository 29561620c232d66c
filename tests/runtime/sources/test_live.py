"""Live sources: newest frame wins, lost ones come back, nothing secret is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Condition, Event, Thread

import numpy as np
import pytest

from vmdepth_runtime import InputError, LiveSettings, open_source
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.loop import run_pipeline
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.watchdog import Pulse
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sources.uri import camera_of, redacted, short_name

QUICK = LiveSettings(max_gap=1.0, stall=1.5)


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
        self.port = 0

    def start(self) -> None:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                due = time.perf_counter()
                try:
                    for frame in camera._frames:
                        while camera.still.is_set() and not camera._end.is_set():
                            time.sleep(0.02)
                        due = max(due + 1 / 30, time.perf_counter() - 1 / 30)
                        if camera._end.wait(max(0.0, due - time.perf_counter())):
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

    def stop(self) -> None:
        self._end.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.ts"


@contextmanager
def camera(tmp_path: Path, make, seconds: float = 20.0) -> Iterator[CameraServer]:
    images = make.noise(int(seconds * 30))
    server = CameraServer(make.video(tmp_path / "live.ts", images, codec="mpeg2video").read_bytes())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_frames_come_at_the_time_they_arrive(tmp_path, make):
    with camera(tmp_path, make) as server, open_source(server.uri, QUICK) as source:
        assert source.live
        assert not source.seekable
        assert source.info.frames is None
        frames = [frame for frame, _ in zip(source, range(60), strict=False)]
    times = [frame.time for frame in frames]
    assert (np.diff(times) > 0).all()
    assert times[-1] > 0.5  # the stream's own 30 a second, but for what came while it was probed
    assert [frame.index for frame in frames] == list(range(60))
    assert not any(frame.fresh for frame in frames)


def test_a_camera_that_goes_away_is_opened_again_and_the_stream_starts_anew(tmp_path, make):
    told = []
    with camera(tmp_path, make) as server, open_source(server.uri, QUICK) as source:
        source.tell = told.append
        frames = iter(source)
        for _ in range(20):
            next(frames)
        server.stop()
        back = []
        Thread(target=lambda: (time.sleep(2.5), back.append(time.perf_counter()), server.start()), daemon=True).start()
        fresh = next(frame for frame in frames if frame.fresh)
        assert fresh.arrived - back[0] < 5.0
        assert source.losses == 1
        assert [next(frames).fresh for _ in range(5)] == [False] * 5
    assert told == source.warnings
    assert "lost (" in told[0]
    assert "the stream starts anew" in told[1]


def test_a_camera_that_stands_still_counts_as_lost(tmp_path, make):
    with camera(tmp_path, make) as server, open_source(server.uri, QUICK) as source:
        frames = iter(source)
        for _ in range(20):
            next(frames)
        server.still.set()
        Thread(target=lambda: (time.sleep(4.0), server.still.clear()), daemon=True).start()
        assert next(frame for frame in frames if source.losses).fresh


def test_retries_come_to_an_end_where_that_is_asked_for(tmp_path, make):
    with camera(tmp_path, make) as server:
        with open_source(server.uri, LiveSettings(retries=2, stall=1.0)) as source:
            frames = iter(source)
            next(frames)
            server.stop()
            assert sum(1 for _ in frames) < 600
            assert source.warnings[-1].endswith("given up after opening it 2 times again; --retries allows more")
        server.start()


def test_of_a_live_source_the_newest_frame_is_taken_and_the_others_are_counted(tmp_path, make):
    with camera(tmp_path, make) as server:
        reader = FrameReader(open_source(server.uri, QUICK), (28, 42))
        taken = []
        while len(taken) < 12:
            taken += [got.frame] if (got := reader.take()) else []
            time.sleep(0.1)  # three frames come in that time
        dropped = reader.dropped
        reader.close()
    indices = [frame.index for frame in taken]
    assert (np.diff(indices) > 0).all()
    assert 10 < dropped <= indices[-1] + 4


class TenAStep(OnnxSession):
    """A network that takes a tenth of a second."""

    def step(self, idle=()):
        end = time.perf_counter() + 0.1
        output = super().step(idle)
        time.sleep(max(0.0, end - time.perf_counter()))
        return output


def test_a_network_slower_than_its_camera_gets_new_frames_and_every_drop_is_counted(tmp_path, make, luma_model):
    """30 frames a second into a network that does 10. Prints the latency from a frame's arrival to its depth."""
    with camera(tmp_path, make, 10.0) as server, TenAStep(luma_model) as session:
        size = (session.contract.height, session.contract.width)
        reader = FrameReader(open_source(server.uri, LiveSettings(retries=0, stall=2.0)), size)
        statistics = RunStatistics()
        writer = Writer("x", reader.source.info, [], None, "area", size)
        run_pipeline(
            [reader], StreamBatch(session), [writer], statistics, Interruptible(), Pulse("step"), lambda _: None
        )
        writer.stop()
        reader.close()
    last = statistics.frames_out
    print(f"latency p50 {statistics.latency(50, last):.0f} ms, p99 {statistics.latency(99, last):.0f} ms")
    assert statistics.frames_out + reader.dropped >= 295  # of 300: ffmpeg may keep the last ones back
    assert reader.dropped > statistics.frames_out


def test_stopping_does_not_wait_for_a_camera_that_is_away(tmp_path, make):
    with camera(tmp_path, make) as server:
        reader = FrameReader(open_source(server.uri, QUICK), (28, 42))
        server.stop()
        time.sleep(0.5)
        start = time.perf_counter()
        reader.close()
        assert time.perf_counter() - start < 10.0
        server.start()


def test_a_camera_that_is_away_does_not_hold_up_the_others(tmp_path, make, build_graph):
    """Two cameras through one graph, one of which stops sending: the other goes on at its own pace."""
    with camera(tmp_path, make) as server, OnnxSession(build_graph(streams=2)) as session:
        (tmp_path / "b").mkdir()
        with camera(tmp_path / "b", make) as other:
            changed, statistics = Condition(), RunStatistics(2)
            size = (session.contract.height, session.contract.width)
            settings = LiveSettings(retries=0, stall=30)
            sources = [open_source(one.uri, settings) for one in (server, other)]
            readers = [FrameReader(source, size, changed=changed) for source in sources]
            other.still.set()
            writers = [Writer("x", reader.source.info, [], None, "area", size) for reader in readers]
            run_pipeline(
                readers[:2],
                StreamBatch(session),
                writers,
                statistics,
                Stopping(statistics, 150),
                Pulse("s"),
                lambda _: None,
            )
            for closing in (*writers, *readers):
                closing.stop() if isinstance(closing, Writer) else closing.close()
    assert statistics.frames[0] >= 100
    # What is dropped came all at once when the stream was opened: nobody waits for a camera that sends nothing.
    assert readers[0].dropped < statistics.frames[0]


class Stopping(Interruptible):
    """An interrupt that comes after so many frames."""

    def __init__(self, statistics, after):
        super().__init__()
        self._statistics, self._after = statistics, after

    def wait_for(self, take):
        self.pressed = self._statistics.frames_out >= self._after
        return super().wait_for(take)


def test_a_file_on_a_web_server_is_no_live_source(tmp_path, make):
    content = make.video(tmp_path / "v.mp4", make.noise(40), movflags="+faststart").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with open_source(f"http://127.0.0.1:{server.server_port}/v.mp4") as source:
        assert not source.live
        assert len(list(source)) == 40
    server.shutdown()
    server.server_close()


# -- what is refused, and what is told -----------------------------------------------------------------------------


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


def test_names_without_secrets():
    assert redacted("rtsp://u:p@w/#@cam/1?token=x&y=2") == "rtsp://***@cam/1?***"
    assert redacted("rtsp://cam/1") == "rtsp://cam/1"
    assert redacted("a/b@c?d=e.mp4") == "a/b@c?d=e.mp4"
    assert short_name("rtsp://u:p@cam.local:554/front") == "front"
    assert short_name("rtsp://u:p@cam.local") == "cam.local"
    assert short_name("frames/%06d.png") == "_06d"
    assert [camera_of(uri) for uri in ("0", "v4l2://1", "v4l2:///dev/video2", "/dev/video3", "12.mp4", "rtsp://0")] == [
        "/dev/video0",
        "/dev/video1",
        "/dev/video2",
        "/dev/video3",
        None,
        None,
    ]


def test_patterns_name_files_in_natural_order(tmp_path, make):
    for k, image in enumerate(make.noise(12)):
        make.image(tmp_path / f"f{k:06d}.png", image)
    make.image(tmp_path / "f12.png", make.noise(1)[0])
    make.image(tmp_path / "g000000.png", make.noise(1)[0])
    for pattern, count in (("f%06d.png", 12), ("f%d.png", 13), ("f0*.png", 12), ("[fg]*.png", 14)):
        with open_source(str(tmp_path / pattern)) as source:
            assert len(list(source)) == count


def test_a_video_whose_size_changes_goes_on_at_its_first_size(tmp_path, make):
    """Two MPEG-TS recordings joined, as a camera does that is switched over."""
    first = make.video(tmp_path / "a.ts", make.noise(20), codec="mpeg2video").read_bytes()
    ticks = range(20, 40)
    second = make.video(tmp_path / "b.ts", make.noise(20, 96, 128), codec="mpeg2video", ticks=list(ticks)).read_bytes()
    (tmp_path / "c.ts").write_bytes(first + second)
    with open_source(tmp_path / "c.ts") as source:
        frames = list(source)
    assert len(frames) >= 38
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert sum(frame.fresh for frame in frames) == 1
    assert "is 128x96 from here on: the stream starts anew, scaled to 64x48" in source.warnings[0]
