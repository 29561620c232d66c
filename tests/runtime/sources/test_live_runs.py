"""Live sources in a pipeline: newest frame wins, what is left out is counted, and nobody waits for one that is away."""

from __future__ import annotations

import time
from threading import Condition

import numpy as np

from vmdepth_runtime import LiveSettings, open_source
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.pipeline.interrupt import Interruptible
from vmdepth_runtime.pipeline.loop import run_pipeline
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.pipeline.statistics import RunStatistics
from vmdepth_runtime.pipeline.writer import Writer
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.stage_timer import StageTimer

QUICK = LiveSettings(max_gap=1.0, stall=1.5)


def test_of_a_live_source_the_newest_frame_is_taken_and_the_others_are_counted(camera, tmp_path, make):
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


def test_a_network_slower_than_its_camera_gets_new_frames_and_every_drop_is_counted(camera, tmp_path, make, luma_model):
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


def test_stopping_does_not_wait_for_a_camera_that_is_away(camera, tmp_path, make):
    with camera(tmp_path, make) as server:
        reader = FrameReader(open_source(server.uri, QUICK), (28, 42))
        server.stop()
        time.sleep(0.5)
        start = time.perf_counter()
        reader.close()
        assert time.perf_counter() - start < 10.0
        server.start()


def test_a_camera_that_is_away_does_not_hold_up_the_others(camera, tmp_path, make, build_graph):
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
