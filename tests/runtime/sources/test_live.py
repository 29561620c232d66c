"""Live sources: they come as they come, lost ones come back, nothing secret is told."""

from __future__ import annotations

import time
from threading import Thread

import numpy as np

from vmdepth_runtime import InputError, LiveSettings, open_source
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.sources.live import LiveSource
from vmdepth_runtime.sources.live_readers import LostError

QUICK = LiveSettings(max_gap=1.0, stall=1.5)


def test_frames_come_at_the_time_they_arrive(camera, tmp_path, make):
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


def test_a_camera_that_goes_away_is_opened_again_and_the_stream_starts_anew(camera, tmp_path, make):
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


def test_a_camera_that_stands_still_counts_as_lost(camera, tmp_path, make):
    with camera(tmp_path, make) as server, open_source(server.uri, QUICK) as source:
        frames = iter(source)
        for _ in range(20):
            next(frames)
        server.still.set()
        Thread(target=lambda: (time.sleep(4.0), server.still.clear()), daemon=True).start()
        assert next(frame for frame in frames if source.losses).discontinuity


def test_retries_come_to_an_end_where_that_is_asked_for(camera, tmp_path, make):
    with camera(tmp_path, make) as server:
        with open_source(server.uri, LiveSettings(retries=2, stall=1.0)) as source:
            frames = iter(source)
            next(frames)
            server.stop()
            assert sum(1 for _ in frames) < 600
            assert source.warnings[-1].endswith("given up after opening it 2 times again; --retries allows more")
        server.start()


def test_why_a_lost_camera_does_not_open_is_told_once_for_each_reason_and_without_secrets(camera, tmp_path, make):
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


class Pictures:
    """A reader that gives so many pictures, and then is lost."""

    fps = 30.0

    def __init__(self, count: int = 1) -> None:
        self._pictures = [np.zeros((28, 42, 3), np.uint8)] * count

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
        return Pictures()

    source = LiveSource("rtsp://camera", reopen, LiveSettings(retries=2), Pictures())
    assert len(list(source)) == 2
    assert busy == [0.0] * 4


def test_a_source_that_ends_before_as_many_frames_as_were_asked_for_is_at_its_end():
    source = LiveSource("rtsp://camera", Pictures, LiveSettings(retries=0), Pictures())
    source.wanted = 10
    reader = FrameReader(source, (28, 42))
    with reader.changed:
        assert reader.changed.wait_for(lambda: reader.ended, timeout=5)
    assert reader.take() is not None
    assert reader.ended
    reader.close()


def test_stamps_follow_a_clock_that_is_set_while_the_camera_runs(monkeypatch):
    """As on a board that starts in 1970."""
    boot, now = 5 * 10**9, 1_700_000_000 * 10**9
    clock = [boot]
    monkeypatch.setattr(time, "time_ns", lambda: clock[0])
    source = LiveSource("rtsp://camera", Pictures, LiveSettings(retries=0), Pictures(8))
    frames, stamps = iter(source), []
    for at in (boot, boot, now, now, now - 10**10, boot + 10**9 // 2):
        clock[0] = at
        stamps.append(next(frames).stamp)
    source.close()
    assert boot == stamps[0] <= stamps[1] < boot + 10**9
    assert stamps[2] == now
    assert now <= stamps[3] < now + 10**9
    assert stamps[4:] == [now - 10**10, boot + 10**9 // 2]
    (line,) = source.warnings
    assert line.startswith("rtsp://camera: this machine's clock was set by +16999999")
