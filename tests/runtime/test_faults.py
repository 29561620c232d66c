"""Long runs, faults injected at random, kills at any moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from vmdepth_runtime import KeyframeSettings, SourceFrame, VideoInfo, open_source
from vmdepth_runtime.array_sinks import NpzSink
from vmdepth_runtime.feed import Feed
from vmdepth_runtime.interrupt import Interruptible
from vmdepth_runtime.measures import RunStatistics
from vmdepth_runtime.pipeline import run_pipeline
from vmdepth_runtime.session import OnnxSession
from vmdepth_runtime.sink import SinkFacts
from vmdepth_runtime.sources import Source
from vmdepth_runtime.streams import StreamBatch
from vmdepth_runtime.watchdog import Pulse, Watchdog
from vmdepth_runtime.writer import Writer

MAIN = "from vmdepth_runtime.run import main; main()"
INFO = VideoInfo(42, 28, None, 30.0, Fraction(1, 30))


@pytest.fixture(scope="module")
def looped(tmp_path_factory, shared_data, make):
    """10,000 frames of real footage, played forwards and backwards again and again, small."""
    with open_source(shared_data / "videos" / "robot_unitree.mp4") as source:
        images = np.stack([cv2.resize(frame.image, (96, 54), interpolation=cv2.INTER_AREA) for frame in source])
    loop = np.concatenate([images, images[-2:0:-1]])
    return make.video(tmp_path_factory.mktemp("looped") / "looped.mp4", loop[np.arange(10_000) % len(loop)])


def test_10000_frames_with_key_frames_keep_memory_flat_and_order(start_bare, looped, luma_model, tmp_path):
    words = [looped, "-o", "out.mp4", "--report", "r.json", "--model", luma_model]
    process = start_bare(MAIN, *words, cwd=tmp_path)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    report = json.loads((tmp_path / "r.json").read_text())
    (one,) = report["sources"]
    assert (one["frames_in"], one["frames_out"], one["dropped"], one["broken_count"]) == (10_000, 10_000, 0, 0)
    visits = one["keyframes"]["visits"]
    assert sum(1 + visit["last"] - visit["first"] for visit in visits) > 5000
    memory = np.array([entry["mib"] for entry in report["resident_memory"] if entry["frame"] >= 500])
    assert np.ptp(memory) <= 0.03 * memory[0]
    with open_source(tmp_path / "out.mp4") as written, open_source(looped) as source:
        count, wrong = 0, 0
        for ours, theirs in zip(written, source, strict=True):
            assert ours.time == pytest.approx(theirs.time, abs=1e-6)
            wrong += np.abs(ours.image[:, :96].astype(int) - theirs.image).mean() > 6
            count += 1
    assert count == 10_000
    assert wrong == 0


class Faulty(Source):
    """Frames in memory; at chosen places it stalls, drops one, or says that one cannot be read."""

    def __init__(self, images, stalls=(), drops=(), corrupt=()):
        super().__init__("faulty")
        self.info = INFO
        self._images, self._stalls, self._drops, self._corrupt = images, stalls, drops, corrupt

    @property
    def seekable(self):
        return False

    def __iter__(self):
        for number, image in enumerate(self._images):
            if number in self._stalls:
                time.sleep(0.05)
            if number in self._corrupt:
                self._skip(number, f"frame {number}", "damaged")
            elif number not in self._drops:
                yield SourceFrame(number, number / 30, image)


class PoisonedSession(OnnxSession):
    """Its state becomes NaN before the step over a frame whose first value is 255."""

    def step(self, idle=()):
        if int(self.frame[0, 0, 0, 0]) == 255:
            place = self.new_place()
            self.save(0, place)
            self.memory.upload(place.addresses["layer_2.0.ssm"], np.full((28, 42), np.nan, np.float32))
            self.restore(0, place)
        return super().step(idle)


class SlowSink(NpzSink):
    """An archive that is slow at chosen frames."""

    def __init__(self, path, slow):
        super().__init__(path, SinkFacts(INFO))
        self._slow = slow

    def _write(self, frame, depth, colour):
        if frame.index in self._slow:
            time.sleep(0.05)
        super()._write(frame, depth, colour)


def whole_run(images, model, path, *, slow=(), keyframes=None, **faults):
    statistics = RunStatistics()
    source = Faulty(images, **faults)
    with PoisonedSession(model) as session:
        batch = StreamBatch(session, keyframes=keyframes)
        feed = Feed(source)
        sink = SlowSink(path, slow)
        writer = Writer("faulty", INFO, [sink], None, "area", (28, 42))
        run_pipeline([feed], batch, [writer], statistics, Interruptible(), Pulse("step"), lambda count: None)
        writer.finish(Interruptible())
        feed.close()
    with np.load(path) as data:
        return source, statistics, data["depth"], np.rint(data["times"] * 30).astype(int)


def test_faults_at_random_are_counted_and_touch_nothing_else(luma_model, tmp_path, looped):
    chance = random.Random(0)
    with open_source(looped) as source:
        images = np.stack(
            [cv2.resize(frame.image, (42, 28)) for frame, _ in zip(source, range(2000), strict=False)]
        ).clip(0, 250)
    places = chance.sample(range(2000), 250)
    stalls, slow, drops, corrupt, nan = places[:40], places[40:80], places[80:140], places[140:200], places[200:]
    marked = images.copy()
    marked[nan, 0, 0, 0] = 255
    images[nan, 0, 0, 0] = 254

    # Stalls and slow outputs change nothing at all.
    _, _, clean, _ = whole_run(images, luma_model, tmp_path / "clean.npz")
    _, _, late, numbers = whole_run(images, luma_model, tmp_path / "late.npz", stalls=stalls, slow=slow)
    np.testing.assert_array_equal(late, clean)
    np.testing.assert_array_equal(numbers, np.arange(2000))

    source, statistics, depth, numbers = whole_run(
        marked, luma_model, tmp_path / "all.npz", stalls=stalls, slow=slow, drops=drops, corrupt=corrupt
    )
    gone = {*drops, *corrupt}
    assert source.skipped_count == len(corrupt)
    assert [skipped.index for skipped in source.skipped] == sorted(corrupt)
    assert numbers.tolist() == [number for number in range(2000) if number not in gone]
    assert statistics.broken == [sorted(nan)]
    assert np.isnan(depth).all(axis=(1, 2)).sum() == len(nan)
    # With key frames on as well.
    anchored = KeyframeSettings(similarity=0.5)
    _, _, clean, _ = whole_run(images, luma_model, tmp_path / "kc.npz", keyframes=anchored)
    _, _, late, _ = whole_run(images, luma_model, tmp_path / "kl.npz", keyframes=anchored, stalls=stalls, slow=slow)
    np.testing.assert_array_equal(late, clean)
    source, counts, _, _ = whole_run(
        marked, luma_model, tmp_path / "ka.npz", keyframes=anchored, stalls=stalls, drops=drops, corrupt=corrupt
    )
    assert (source.skipped_count, counts.broken) == (len(corrupt), [sorted(nan)])
    assert counts.frames_out == 2000 - len(gone)

    # What every other frame gives is what the graph makes of the frames that it got since the last reset.
    state = np.zeros((28, 42), np.float32)
    for number, got in zip(numbers, depth, strict=True):
        if number in nan:
            state[:] = 0
            continue
        luma = marked[number].astype(np.float32) @ (np.array([0.25, 0.5, 0.25], np.float32) / 256)
        state = (luma + state) * np.float32(0.5)
        np.testing.assert_array_equal(got, state)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_moment_leaves_a_video_that_plays_and_whole_files(start_bare, looped, luma_model, tmp_path, seed):
    words = [looped, "-o", "out.mp4", "-o", "d/%06d.png", "-o", "d/%06d.npy", "-o", "out.npz", "--model", luma_model]
    process = start_bare(MAIN, *words, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("d/*.npy"))) < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.Random(seed).uniform(0, 1.5))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out.mp4").exists()
    assert not (tmp_path / "out.npz").exists()
    arrays = sorted((tmp_path / "d").glob("[0-9]*.npy"))
    assert all(np.load(path).shape == (54, 96) for path in arrays)
    assert [path.stem for path in arrays] == [f"{number:06d}" for number in range(len(arrays))]
    for path in (tmp_path / "d").glob("[0-9]*.png"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (54, 96)
    (part,) = tmp_path.glob(".out.mp4.*.part")
    with av.open(str(part), format="mp4") as container:
        last = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)][-1]
    assert last >= (len(arrays) - 1) / 30 - 2.0


def test_sigterm_is_like_ctrl_c(start_bare, looped, luma_model, tmp_path):
    process = start_bare(MAIN, looped, "-o", "out.mp4", "--report", "r.json", "--model", luma_model, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.mp4.*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == report["frames_out"] > 0


def test_strict_stops_with_one_line(luma_model, tmp_path):
    from vmdepth_runtime import WorkError

    with PoisonedSession(luma_model) as session:
        batch = StreamBatch(session, strict=True)
        with pytest.raises(WorkError, match="gives depth or states that are not finite"):
            batch.step([np.full((28, 42, 3), 255, np.uint8)])


def test_several_sources_go_through_one_graph_each_with_its_own_states(build_graph, vmdepth_run, tmp_path, make):
    make.video(tmp_path / "a.mp4", make.noise(50, seed=1))
    make.video(tmp_path / "b.mp4", make.noise(30, 96, 128, seed=2))
    two = build_graph(streams=2)
    assert vmdepth_run("a.mp4", "b.mp4", "-o", "both{}.npz", "--model", two, "--report", "r.json").code == 0
    for number, name in enumerate("ab"):
        assert vmdepth_run(f"{name}.mp4", "-o", f"{name}.npz").code == 0
        with np.load(tmp_path / f"both{number}.npz") as both, np.load(tmp_path / f"{name}.npz") as alone:
            np.testing.assert_array_equal(both["depth"], alone["depth"])
            np.testing.assert_array_equal(both["times"], alone["times"])
    report = json.loads((tmp_path / "r.json").read_text())
    assert [source["frames_out"] for source in report["sources"]] == [50, 30]
    make.video(tmp_path / "0.mp4", make.noise(3))
    refusal = vmdepth_run("b.mp4", "0.mp4", "-o", "{}.mp4", "--model", two)
    assert refusal.code == 2
    assert "0.mp4: is the source itself" in refusal.lines[0]
    refusal = vmdepth_run("a.mp4", "b.mp4", "-o", "out.npz", "--model", two)
    assert refusal.code == 2
    assert "put {} where their number goes" in refusal.lines[0]
    refusal = vmdepth_run("a.mp4", "-o", "out.npz", "--model", two)
    assert "made for 2 streams at once, here are 1 sources; export it again with '--streams 1'" in refusal.lines[0]


def test_whatever_breaks_the_run_off_what_was_done_is_kept(vmdepth_run, tmp_path, make, monkeypatch):
    path = make.video(tmp_path / "in.mp4", make.noise(40))
    step, count = OnnxSession.step, [0]

    def fails_late(self, idle=()):
        count[0] += 1
        if count[0] > 20:
            raise RuntimeError("the device is lost\nand more")
        return step(self, idle)

    monkeypatch.setattr(OnnxSession, "step", fails_late)
    outcome = vmdepth_run(path, "-o", "out.npz")
    assert outcome.code == 1
    assert outcome.lines == [
        "vmdepth-run: the run broke off: RuntimeError: the device is lost and more; what was done is kept"
    ]
    with np.load(tmp_path / "out.npz") as data:
        assert len(data["depth"]) == 20


def test_an_interrupt_gets_through_to_outputs_that_stand_still(looped, luma_model, tmp_path):
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    words = [sys.executable, "-c", listen + MAIN, str(looped), "-o", "out.npz", "-o", "-", "--model", str(luma_model)]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".out.npz.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)  # nobody reads stdout: its pipe is full by now
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().splitlines()[-2:] == [
            "vmdepth-run: -: stands still, and is left as it is",
            "vmdepth-run: writing looped.mp4 stands still; given up",
        ]
        process.stdout.close()
    assert process.returncode == 1
    with np.load(tmp_path / "out.npz") as data:
        assert len(data["depth"]) > 0


def test_the_watchdog_names_a_stage_that_stands_still_and_tells_systemd(tmp_path, monkeypatch):
    import socket

    address = tmp_path / "notify"
    lines, pulse = [], Pulse("writing out.mp4")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        channel.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        with Watchdog([pulse], 0.2, lines.append) as watchdog:
            assert channel.recv(100) == b"READY=1"
            assert channel.recv(100) == b"WATCHDOG=1"
            pulse.begin()
            time.sleep(0.6)
            pulse.end()
            deadline = time.monotonic() + 5
            while len(lines) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert watchdog.stalls == 1
    assert lines[0].startswith("writing out.mp4 stands still for ")
    assert lines[1] == "writing out.mp4 goes on"


def test_raw_frames_go_down_a_pipe(luma_model, tmp_path, make):
    path = make.video(tmp_path / "in.mp4", make.noise(5))
    words = [sys.executable, "-c", MAIN, str(path), "-o", "-", "-o", "out.npz", "--model", str(luma_model)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    with np.load(tmp_path / "out.npz") as data:
        np.testing.assert_array_equal(np.frombuffer(done.stdout, "<f4").reshape(5, 48, 64), data["depth"])
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert "-: whoever read it has gone away" in process.stderr.read()
    assert process.returncode == 1
