"""Long runs, faults injected at random, kills at any moment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread, Timer

import av
import cv2
import numpy as np
import pytest

from vmdepth_runtime import open_source
from vmdepth_runtime.pipeline.watchdog import Watchdog
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.stage_timer import StageTimer

MAIN = "from vmdepth_runtime.pipeline.cli import main; main()"


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
    assert one["cut_count"] == 0
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


def read_slowly(pipe, chance, received):
    """Take all of a pipe, now and then not for a while."""
    while piece := pipe.read(1 << 18):
        received.append(len(piece))
        if chance.random() < 0.1:
            time.sleep(0.05)


def test_faults_at_random_in_10000_frames_are_counted_and_touch_nothing_else(
    build_graph, nan_on_white, looped, make, tmp_path
):
    """Packets that are lost or damaged, frames that the network gives NaN for, a source that stalls, an output that is
    slow: key frames on, against the same run without any of them."""
    chance = random.Random(0)
    with open_source(looped) as source:
        clean = np.stack([cv2.resize(frame.image, (42, 28), interpolation=cv2.INTER_AREA) for frame in source])
    clean = clean.clip(0, 240)
    places = chance.sample(range(100, 10_000), 75)
    drops, corrupt, nan = sorted(places[:25]), sorted(places[25:50]), sorted(places[50:])
    marked = clean.copy()
    marked[nan] = 255
    kept = np.setdiff1d(np.arange(10_000), drops)

    def damage(packet, content):
        return bytes(chance.randbytes(len(content))) if kept[packet] in corrupt else content

    model = build_graph(touch=nan_on_white)
    whole = make.video(tmp_path / "clean.mkv", clean, codec="mjpeg")
    faulty = make.video(tmp_path / "faulty.mkv", marked[kept], ticks=kept.tolist(), codec="mjpeg", damage=damage)

    def command(source, name, *outputs):
        words = [source, "-o", f"{name}.npz", *outputs, "--report", f"{name}.json", "--model", model, "--stall", "0.2"]
        return [sys.executable, "-c", MAIN, *map(str, words)]

    subprocess.run(command(whole, "clean"), cwd=tmp_path, check=True, timeout=300)
    words = command("/dev/stdin", "faulty", "-o", "out.mp4", "-o", "-")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(words, cwd=tmp_path, **pipes) as process:
        limit = Timer(300, process.kill)
        limit.start()
        received, errors = [], []
        threads = [
            Thread(target=read_slowly, args=(process.stdout, random.Random(1), received)),
            Thread(target=lambda: errors.append(process.stderr.read())),
        ]
        for thread in threads:
            thread.start()
        content = faulty.read_bytes()
        stalls = {chance.randrange(len(content)) >> 14 for _ in range(8)}
        with suppress(BrokenPipeError):  # stderr says why
            for number in range(0, len(content), 1 << 14):
                if number >> 14 in stalls:
                    time.sleep(1.0)
                process.stdin.write(content[number : number + (1 << 14)])
            process.stdin.close()
        for thread in threads:
            thread.join()
        limit.cancel()
    assert process.returncode == 0, errors

    report = json.loads((tmp_path / "faulty.json").read_text())
    (one,) = report["sources"]
    out = len(kept) - len(corrupt)
    assert (one["skipped_count"], one["broken_count"], one["frames_out"]) == (len(corrupt), len(nan), out)
    assert one["frames_in"] == len(kept)
    assert report["stalls"] > 0
    assert b"reading stdin stands still" in errors[0]
    assert [skipped["index"] for skipped in one["skipped"]] == np.searchsorted(kept, corrupt).tolist()
    assert one["broken"] == np.searchsorted(kept, nan).tolist()
    assert sum(received) == out * 42 * 28 * 4
    memory = np.array([entry["mib"] for entry in report["resident_memory"] if entry["frame"] >= 500])
    assert np.ptp(memory) <= 0.03 * memory[0]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == out

    with np.load(tmp_path / "clean.npz") as data:
        expected = data["depth"]
    with np.load(tmp_path / "faulty.npz") as data:
        numbers, depth = np.rint(data["times"] * 30).astype(int), data["depth"]
    assert numbers.tolist() == sorted({*range(10_000)} - {*drops, *corrupt})
    assert numbers[np.isnan(depth).any(axis=(1, 2))].tolist() == nan
    # The graph halves what it remembers with every frame: 60 frames after a fault nothing of it can be left.
    touched = np.unique(np.concatenate([np.arange(place, place + 60) for place in places]))
    same = ~np.isin(numbers, touched)
    assert same.sum() > 5000
    np.testing.assert_array_equal(depth[same], expected[numbers[same]])

    # Without key frames every single one is what the graph makes of the frames that came since the last NaN.
    subprocess.run(command(faulty, "alone", "--no-keyframes"), cwd=tmp_path, check=True, timeout=300)
    state = np.zeros((28, 42), np.float32)
    with np.load(tmp_path / "alone.npz") as data, open_source(faulty) as source:
        for frame, got in zip(source, data["depth"], strict=True):
            if frame.image.mean() > 250:
                assert np.isnan(got).all()
                state[:] = 0
                continue
            luma = frame.image.astype(np.float32) @ (np.array([0.25, 0.5, 0.25], np.float32) / 256)
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


def test_strict_stops_with_one_line(build_graph, nan_on_white, vmdepth_run, tmp_path, make):
    images = make.noise(40)
    images[30] = 255
    path = make.video(tmp_path / "in.mkv", images, codec="mjpeg")
    outcome = vmdepth_run(
        path, "-o", "out.npz", "--strict", "--report", "r.json", "--model", build_graph(touch=nan_on_white)
    )
    assert outcome.code == 1
    (line,) = outcome.lines
    assert "luma.onnx: gives depth or states that are not finite, for frame 30 of in.mkv; 'vmdepth-parity'" in line
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["sources"][0]["broken"], report["failure"]) == ([30], line.removeprefix("vmdepth-run: "))
    with np.load(tmp_path / "out.npz") as data:
        assert len(data["depth"]) == 30  # what was done is kept


def test_several_sources_go_through_one_graph_each_with_its_own_states(build_graph, vmdepth_run, tmp_path, make):
    make.video(tmp_path / "a.mp4", make.noise(50, seed=1))
    make.video(tmp_path / "b.mp4", make.noise(30, 96, 128, seed=2))
    two = build_graph(streams=2)
    assert (
        vmdepth_run("a.mp4", "b.mp4", "-o", "both{}.npz", "--streams", "--model", two, "--report", "r.json").code == 0
    )
    for number, name in enumerate("ab"):
        assert vmdepth_run(f"{name}.mp4", "-o", f"{name}.npz").code == 0
        with np.load(tmp_path / f"both{number}.npz") as both, np.load(tmp_path / f"{name}.npz") as alone:
            np.testing.assert_array_equal(both["depth"], alone["depth"])
            np.testing.assert_array_equal(both["times"], alone["times"])
    report = json.loads((tmp_path / "r.json").read_text())
    assert [source["frames_out"] for source in report["sources"]] == [50, 30]
    make.video(tmp_path / "0.mp4", make.noise(3))
    refusal = vmdepth_run("b.mp4", "0.mp4", "-o", "{}.mp4", "--streams", "--model", two)
    assert refusal.code == 2
    assert "0.mp4: is the source itself" in refusal.lines[0]
    refusal = vmdepth_run("a.mp4", "b.mp4", "-o", "out.npz", "--streams", "--model", two)
    assert refusal.code == 2
    assert "put {name} or {} where their name or number goes" in refusal.lines[0]
    refusal = vmdepth_run("a.mp4", "b.mp4", "-o", "http://127.0.0.1:0", "--streams", "--model", two)
    assert "http://127.0.0.1:0: is named as an output twice" in refusal.lines[0]
    refusal = vmdepth_run("a.mp4", "b.mp4", "-o", "{}.npz", "--model", two)
    assert "given 1 source at a time; --streams takes all sources at once" in refusal.lines[0]
    refusal = vmdepth_run("a.mp4", "-o", "out.npz", "--model", two)
    assert "made for 2 streams at once, and given 1 source; export it again with '--streams 1'" in refusal.lines[0]


def test_whatever_breaks_the_run_off_what_was_done_is_kept(vmdepth_run, tmp_path, make, monkeypatch):
    path = make.video(tmp_path / "in.mp4", make.noise(40))
    step, count = OnnxSession.step, [0]

    def fails_late(self, idle=()):
        count[0] += 1
        if count[0] > 20:
            raise RuntimeError("the device is lost\nand more")
        return step(self, idle)

    monkeypatch.setattr(OnnxSession, "step", fails_late)
    outcome = vmdepth_run(path, "-o", "out.npz", "--report", "r.json")
    assert outcome.code == 1
    line = "the run broke off: RuntimeError: the device is lost and more; what was done is kept"
    assert outcome.lines == [f"vmdepth-run: {line}"]
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["failure"], report["frames_out"]) == (line, 20)
    with np.load(tmp_path / "out.npz") as data:
        assert len(data["depth"]) == 20


def test_where_priorities_may_not_be_changed_frames_are_written_all_the_same(vmdepth_run, tmp_path, make, monkeypatch):
    def forbidden(*_):
        raise PermissionError("not in this sandbox")

    monkeypatch.setattr("os.setpriority", forbidden)
    assert vmdepth_run(make.video(tmp_path / "in.mp4", make.noise(20)), "-o", "out.npz").code == 0
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
    lines, timer = [], StageTimer("writing out.mp4")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        channel.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        with Watchdog([timer], 0.2, lines.append) as watchdog:
            assert channel.recv(100) == b"READY=1"
            assert channel.recv(100) == b"WATCHDOG=1"
            with timer:
                time.sleep(0.6)
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
