"""Several files in one run, one after the other, and ranges of frames."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import av
import numpy as np
import pytest

from vmdepth_runtime import InputError, ReadSettings, RunSettings, run
from vmdepth_runtime.pipeline.jobs import Job
from vmdepth_runtime.pipeline.reporter import Reporter

MAIN = "from vmdepth_runtime.pipeline.cli import main; main()"


def depth_of(path):
    with np.load(path) as data:
        return data["depth"]


def starts_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [float(frame.pts * stream.time_base) for frame in container.decode(stream)]


@pytest.mark.parametrize("sources", [["videos"], ["videos/*.mp4"], ["videos/a.mp4", "videos/b.mp4"]])
def test_several_files_go_one_after_the_other_each_with_its_own_states(vmdepth_run, videos, tmp_path, sources):
    outcome = vmdepth_run(*sources, "-o", "out/{name}.npz", "-o", "{}.npz", "--report", "r.json")
    assert outcome.code == 0, outcome.lines
    for number, name in enumerate("ab"):
        assert vmdepth_run(f"videos/{name}.mp4", "-o", f"{name}.npz").code == 0
        for output in (f"out/{name}.npz", f"{number}.npz"):
            np.testing.assert_array_equal(depth_of(tmp_path / output), depth_of(tmp_path / f"{name}.npz"))
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["frames_out"], report["interrupted"], report["failure"]) == (20, False, None)
    assert report["outputs"] == ["out/a.npz", "0.npz", "out/b.npz", "1.npz"]
    assert [(s["name"], s["frames_out"], s["run"]["frames_out"]) for s in report["sources"]] == [
        ("a.mp4", 12, 12),
        ("b.mp4", 8, 8),
    ]
    assert all(source["run"]["latency_ms"]["p50"] > 0 for source in report["sources"])


def test_default_outputs_of_several_files_have_different_names(vmdepth_run, videos, tmp_path, make):
    (tmp_path / "more").mkdir()
    make.video(tmp_path / "more" / "a.mp4", make.noise(3))
    make.video(tmp_path / "b.mkv", make.noise(3))
    assert vmdepth_run(videos, "more", "b.mkv").code == 0
    written = sorted(path.name for path in tmp_path.glob("*.depth.mp4"))
    assert written == ["b.mkv.depth.mp4", "b.mp4.depth.mp4", "more_a.depth.mp4", "videos_a.depth.mp4"]


def test_one_broken_file_among_many_is_named_and_the_others_are_done(vmdepth_run, videos, tmp_path):
    (videos / "a_broken.mp4").write_bytes(b"nothing that plays")
    (videos / "a_empty.mp4").write_bytes(b"")
    outcome = vmdepth_run(videos, "-o", "{name}.npz", "--report", "r.json")
    assert outcome.code == 1
    assert [line for line in outcome.lines if "frames in" not in line and "wrote" not in line] == [
        f"vmdepth-run: {videos}/a_broken.mp4: not a video that can be read; give a video file or a folder of images",
        f"vmdepth-run: {videos}/a_empty.mp4: the file is empty; copy or record it again",
        "vmdepth-run: 2 of 4 sources failed, as told above; what was done of the others is kept",
    ]
    assert (len(depth_of(tmp_path / "a.npz")), len(depth_of(tmp_path / "b.npz"))) == (12, 8)
    report = json.loads((tmp_path / "r.json").read_text())
    assert [source["frames_out"] for source in report["sources"]] == [12, 0, 0, 8]
    assert "not a video" in report["sources"][1]["run"]["failure"]
    assert report["failure"] == report["sources"][1]["run"]["failure"]


def test_where_no_file_can_be_read_the_input_is_bad(vmdepth_run, tmp_path):
    outcome = vmdepth_run("x.mp4", "y.mp4", "-o", "{name}.npz")
    assert outcome.code == 2
    assert "x.mp4: no such file or folder" in outcome.lines[0]
    assert outcome.lines[-1] == "vmdepth-run: none of the 2 sources can be read"
    assert list(tmp_path.iterdir()) == []


def test_several_files_are_refused_one_output_and_live_sources_want_streams(vmdepth_run, videos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for words, message in [
        ([videos, "-o", "out.mp4"], "is named as an output twice; with several sources put {name} or {}"),
        ([videos, "-o", "videos/{name}.mp4"], "is the source itself"),
        ([videos, "-o", "{name}.mp4", "--report", "a.mp4"], "a.mp4: is named as an output twice"),
        ([videos, "-o", "{name}.png"], "-o 'a/%06d.png' is one per frame"),
        ([videos, "rtsp://u:p@camera"], "rtsp://***@camera: is live and has no end; --streams takes all 3 sources"),
        (["0", "1"], "0: is live and has no end; --streams takes all 2 sources at once, by a model made with"),
    ]:
        outcome = vmdepth_run(*words)
        assert outcome.code == 2, outcome.lines
        assert any(message in line for line in outcome.lines), outcome.lines
    assert sorted(tmp_path.rglob("*")) == before


def interrupted(words, when, folder):
    """The command in `folder`, interrupted once `when()` is true. Returns its lines."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + MAIN
    command = [sys.executable, "-c", code, *map(str, words), "-o", "{name}.mp4", "--report", "r.json"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not when() and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()  # or leaving the block would wait for one that does not end
        assert process.returncode == 130, said
    return said.splitlines()


def test_an_interrupt_ends_the_queue_and_keeps_what_was_done(luma_model, long_video, videos, tmp_path):
    words = [videos / "a.mp4", long_video, videos / "b.mp4", "--model", luma_model]
    lines = interrupted(words, lambda: list(tmp_path.glob(".long.mp4.*")), tmp_path)
    assert lines[-1] == f"vmdepth-run: interrupted: 1 of 3 sources not done, from {videos / 'b.mp4'} on"
    assert not (tmp_path / "b.mp4").exists()
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["interrupted"]
    assert [source["name"] for source in report["sources"]] == ["a.mp4", "long.mp4"]
    assert report["sources"][1]["frames_out"] < 2000


def test_an_interrupt_before_a_source_gives_its_first_frame_names_it(luma_model, videos, tmp_path):
    os.mkfifo(tmp_path / "silent.ts")
    words = [videos / "a.mp4", "silent.ts", videos / "b.mp4", "--model", luma_model]
    lines = interrupted(words, (tmp_path / "a.mp4").exists, tmp_path)
    assert lines[-1] == "vmdepth-run: interrupted: 2 of 3 sources not done, from silent.ts on"
    assert json.loads((tmp_path / "r.json").read_text())["interrupted"]


def test_an_interrupt_while_a_file_is_being_closed_ends_the_queue(vmdepth_run, videos, monkeypatch):
    finish = Reporter.finish

    def interrupted(reporter, report):
        finish(reporter, report)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Reporter, "finish", interrupted)
    outcome = vmdepth_run("videos", "-o", "{name}.npz", "--report", "r.json")
    assert outcome.code == 130
    assert outcome.lines[-1].endswith("sources not done, from videos/b.mp4 on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_between_two_files_keeps_the_report_of_what_was_done(vmdepth_run, videos, monkeypatch, number):
    opened = []
    open_job = Job.open

    def interrupted(job, settings):
        opened.append(job.name)
        if job.name == "b":
            os.kill(os.getpid(), number)
        return open_job(job, settings)

    monkeypatch.setattr(Job, "open", interrupted)
    outcome = vmdepth_run("videos", "-o", "{name}.npz", "--report", "r.json")
    assert outcome.code == 130
    assert outcome.lines[-1] == "vmdepth-run: interrupted: 1 of 2 sources not done, from videos/b.mp4 on"
    report = json.loads((videos.parent / "r.json").read_text())
    assert (report["interrupted"], [source["frames_out"] for source in report["sources"]]) == (True, [12, 0])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_service_manager_is_told_of_the_end_once_after_the_last_file(luma_model, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        run(RunSettings((str(videos),), ("{name}.npz",), luma_model))
        told = []
        with suppress(BlockingIOError):
            while True:
                told.append(channel.recv(100))
    assert [state for state in told if state != b"WATCHDOG=1"] == [b"READY=1", b"READY=1", b"STOPPING=1"]
    assert told[-1] == b"STOPPING=1"


def test_a_range_is_written_with_its_places_and_a_video_begins_at_nought(vmdepth_run, tmp_path, make):
    make.video(tmp_path / "in.mp4", make.noise(40))
    words = ["--start", "0.5s", "--frames", "5", "--every", "3"]
    outcome = vmdepth_run("in.mp4", "-o", "d/%d.npy", "-o", "out.npz", "-o", "out.mp4", *words, "--report", "r.json")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("vmdepth-run: 5 frames in, 5 out, 0 skipped")
    assert sorted(int(path.stem) for path in (tmp_path / "d").iterdir()) == [15, 18, 21, 24, 27]
    with np.load(tmp_path / "out.npz") as data:
        np.testing.assert_allclose(data["times"], [0.5, 0.6, 0.7, 0.8, 0.9])
    assert starts_of(tmp_path / "out.mp4") == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert json.loads((tmp_path / "r.json").read_text())["sources"][0]["promised_frames"] == 5
    refused = vmdepth_run("in.mp4", "--start", "40")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert "in.mp4: has 40 frames, 1.3 s; --start 40 is beyond its end" in refused.lines[0]


def test_settings_of_python_mean_the_same(luma_model, videos, tmp_path):
    settings = ReadSettings(start=3, frames=4)
    report = run(RunSettings((str(videos),), (str(tmp_path / "{name}.npz"),), luma_model, read=settings))
    assert [source["frames_out"] for source in report["sources"]] == [4, 4]
    with pytest.raises(InputError, match="named as an output twice"):
        run(RunSettings((str(videos),), (str(tmp_path / "out.npz"),), luma_model))


def test_a_source_given_twice_is_told_apart_by_a_number(vmdepth_run, make, tmp_path):
    path = make.video(tmp_path / "walk.mp4", make.noise(2))
    assert vmdepth_run(path, path, "-o", "w_{name}.npz").code == 0
    assert sorted(file.name for file in tmp_path.glob("w_*")) == ["w_walk-2.npz", "w_walk.npz"]
