"""Live sources: newest frame wins, lost ones come back, nothing secret is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sources.live import LiveSource
from vmdepth_runtime.sources.live_readers import LostError
from vmdepth_runtime.stage_timer import StageTimer

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
    before = time.time_ns()
    with camera(tmp_path, make) as server, open_source(server.uri, QUICK) as source:
        assert source.live
        assert not source.seekable
        assert source.info.frames is None
        frames = [frame for frame, _ in zip(source, range(60), strict=False)]
    times = [frame.time for frame in frames]
    assert (np.diff(times) > 0).all()
    stamps = [frame.stamp for frame in frames]
    assert before < stamps[0] < stamps[-1] < time.time_ns()
    np.testing.assert_allclose((np.array(stamps) - stamps[0]) / 1e9, times, atol=1e-6)
    assert times[-1] > 0.5  # the stream's own 30 a second, but for what came while it was probed
    assert [frame.index for frame in frames] == list(range(60))
    assert not any(frame.discontinuity for frame in frames)


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
        resumed = next(frame for frame in frames if frame.discontinuity)
        assert resumed.arrived - back[0] < 5.0
        assert source.losses == 1
        assert [next(frames).discontinuity for _ in range(5)] == [False] * 5
    assert told == source.warnings
    assert "lost (" in told[0]
    assert told[1].endswith(": cannot be opened (Connection refused); check the address; trying again")
    assert "the stream starts anew" in told[-1]


def test_a_camera_that_stands_still_counts_as_lost(tmp_path, make):
    with camera(tmp_path, make) as server, open_source(server.uri, QUICK) as source:
        frames = iter(source)
        for _ in range(20):
            next(frames)
        server.still.set()
        Thread(target=lambda: (time.sleep(4.0), server.still.clear()), daemon=True).start()
        assert next(frame for frame in frames if source.losses).discontinuity


def test_retries_come_to_an_end_where_that_is_asked_for(tmp_path, make):
    with camera(tmp_path, make) as server:
        with open_source(server.uri, LiveSettings(retries=2, stall=1.0)) as source:
            frames = iter(source)
            next(frames)
            server.stop()
            assert sum(1 for _ in frames) < 600
            assert source.warnings[-1].endswith("given up after opening it 2 times again; --retries allows more")
        server.start()


def test_why_a_lost_camera_does_not_open_is_told_once_for_each_reason_and_without_secrets(tmp_path, make):
    """A password that was changed, then a path that is gone, then the camera is back."""
    with camera(tmp_path, make) as server:
        uri = f"http://admin:hunter2@127.0.0.1:{server.port}/live.ts?key=hunter2"
        with open_source(uri, LiveSettings(max_gap=60.0, stall=1.5)) as source:
            frames = iter(source)
            next(frames)
            server.refusals = [401, 401, 404]
            server.hang_up()
            next(frame for frame in frames if len(server.asked) == 5)
    name = f"http://***@127.0.0.1:{server.port}/live.ts?***"
    lost, unauthorised, gone = source.warnings
    assert lost.startswith(f"{name}: lost (")
    assert unauthorised.startswith(f"{name}: cannot be opened (Server returned 401 Unauthorized")
    assert gone.startswith(f"{name}: cannot be opened (Server returned 404 Not Found")
    assert unauthorised.endswith("; trying again")
    assert "hunter" not in "".join(source.warnings)


class OnePicture:
    """A reader that gives one picture, and then is lost."""

    fps = 30.0

    def __init__(self) -> None:
        self._pictures = [np.zeros((28, 42, 3), np.uint8)]

    def read(self):
        if not self._pictures:
            raise LostError("it ended")
        return self._pictures.pop()

    def close(self) -> None:
        return


def test_a_source_is_not_busy_while_it_is_opened_again():
    """That may take longer than a stage may stand still, and nothing does."""
    busy = []

    def reopen():
        busy.append(source.timer.busy)
        if len(busy) != 2:
            raise InputError("not yet")
        return OnePicture()

    source = LiveSource("rtsp://camera", reopen, LiveSettings(retries=2), OnePicture())
    assert len(list(source)) == 2
    assert busy == [0.0] * 4


def test_a_source_that_ends_before_as_many_frames_as_were_asked_for_is_at_its_end():
    source = LiveSource("rtsp://camera", OnePicture, LiveSettings(retries=0), OnePicture())
    source.wanted = 10
    reader = FrameReader(source, (28, 42))
    with reader.changed:
        assert reader.changed.wait_for(lambda: reader.ended, timeout=5)
    assert reader.take() is not None
    assert reader.ended
    reader.close()


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
        writer = Writer("x", reader.source.info, [], None, "area", size, "inferno")
        run_pipeline(
            [reader], StreamBatch(session), [writer], statistics, Interruptible(), StageTimer("step"), lambda: None
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
            writers = [Writer("x", reader.source.info, [], None, "area", size, "inferno") for reader in readers]
            run_pipeline(
                readers[:2],
                StreamBatch(session),
                writers,
                statistics,
                Stopping(statistics, 150),
                StageTimer("s"),
                lambda: None,
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
