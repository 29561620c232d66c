"""`vmdepth-run` as a process: base install, memory, interrupts, a disk that gives out, a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from vmdepth_runtime import open_source

MAIN = "from vmdepth_runtime.pipeline.cli import main; main()"


def count_frames(path):
    with open_source(path) as source:
        return sum(1 for _ in source)


def test_importing_the_package_is_cheap_and_needs_no_training_packages(start_bare, tmp_path):
    code = """
import vmdepth_runtime
heavy = {"numpy", "onnxruntime", "av", "cv2", "rich", "torch"} & set(sys.modules)
assert not heavy, heavy
vmdepth_runtime.DepthStream, vmdepth_runtime.open_source, vmdepth_runtime.open_sink
"""
    process = start_bare(code, cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_every_name_of_the_package_is_there():
    import vmdepth_runtime

    for name in vmdepth_runtime.__all__:
        assert getattr(vmdepth_runtime, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vmdepth_runtime.nothing  # noqa: B018


def test_resident_memory_stays_flat_over_2000_frames_without_training_packages(
    start_bare, long_video, luma_model, tmp_path
):
    process = start_bare(
        MAIN, long_video, "-o", "a.mp4", "-o", "b.npz", "--report", "r.json", "--model", luma_model, cwd=tmp_path
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert all(line.startswith("vmdepth-run: ") for line in errors.splitlines()), errors
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["sources"][0]["frames_in"], report["frames_out"]) == (2000, 2000)
    memory = {entry["frame"]: entry["mib"] for entry in report["resident_memory"]}
    assert sorted(memory) == list(range(200, 2001, 200))
    assert memory[2000] == pytest.approx(memory[200], rel=0.05)
    with np.load(tmp_path / "b.npz") as data:
        assert data["times"].shape == (2000,)


def test_an_interrupt_leaves_what_was_done(start_bare, long_video, luma_model, tmp_path):
    process = start_bare(
        MAIN, long_video, "-o", "a.mp4", "-o", "b.npz", "--report", "r.json", "--model", luma_model, cwd=tmp_path
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".b.npz.*.npy")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    report = json.loads((tmp_path / "r.json").read_text())
    done = report["frames_out"]
    assert report["interrupted"] is True
    assert 0 < done < 2000
    assert count_frames(tmp_path / "a.mp4") == done
    with np.load(tmp_path / "b.npz") as data:
        assert len(data["depth"]) == len(data["times"]) == done
    assert {p.name for p in tmp_path.iterdir()} == {"a.mp4", "b.npz", "r.json"}


@pytest.mark.parametrize("with_frames", [True, False])
def test_an_interrupt_gets_through_to_a_pipe_that_stands_still(start_bare, luma_model, tmp_path, make, with_frames):
    content = make.video(tmp_path / "v.ts", make.noise(200), codec="mpeg2video").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    process = start_bare(MAIN, "pipe", "-o", "out.mp4", "--model", luma_model, cwd=tmp_path)
    with (tmp_path / "pipe").open("wb") as pipe:
        if with_frames:
            pipe.write(content)
            pipe.flush()
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob(".out.mp4.*")) and time.monotonic() < deadline:
                time.sleep(0.01)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert (tmp_path / "out.mp4").exists() == with_frames
    if with_frames:
        assert 100 < count_frames(tmp_path / "out.mp4") <= 200


def test_an_interrupt_gets_through_to_a_stream_that_nobody_sends(start_bare, luma_model, tmp_path, free_port):
    process = start_bare(MAIN, f"udp://127.0.0.1:{free_port}", "-o", "out.mp4", "--model", luma_model, cwd=tmp_path)
    said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert said.endswith("waiting for its first picture, Ctrl-C ends it\n")
    assert (process.returncode, errors.split()) == (130, ["vmdepth-run:", "interrupted"])


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_gets_one_line_that_says_how_far_it_is(luma_model, tmp_path, make, columns, free_port):
    path = make.video(tmp_path / "a_video_with_a_very_long_name.mp4", make.noise(60))
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", MAIN, str(path), "-o", "out.mp4", "--model", str(luma_model)]
    words += ["-o", f"http://127.0.0.1:{free_port}"]
    process = subprocess.Popen(
        words, cwd=tmp_path, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how Linux says that the other end is closed
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert process.wait(timeout=60) == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    said = [line for line in lines if line.startswith("vmdepth-run: ")]
    assert re.fullmatch(
        r"vmdepth-run: luma 28x42, ONNX Runtime on \d+ CPU cores?, relative inverse depth, larger is nearer; "
        "a_video_with_a_very_long_name.mp4 64x48, 30 fps, 60 frames",
        said[0],
    )
    assert re.fullmatch(r"vmdepth-run: open http://127.0.0.1:\d+ in a browser", said[1])
    last = [line for line in lines if "60/60" in line][-1]
    assert len(last) <= columns
    assert re.search(r"^a_video_.* 60/60, \d+\.\d fps, 0:00 left" + (", p50 .* ms, p99 .* ms" * (columns > 80)), last)
    assert said[2].startswith("vmdepth-run: 60 frames in, 60 out")
    assert "CPU, ms a frame" in plain
    assert "limited by " in plain


def test_a_disk_that_gives_out_is_one_line_with_what_is_kept(start_bare, luma_model, tmp_path, make):
    """The kernel's own limit on a file's size stands for the disk."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    path = make.video(tmp_path / "in.mkv", make.noise(600), codec="mjpeg")
    words = ["-o", "out.mp4", "--no-keyframes", "--report", "r.json", "--model", luma_model]
    process = start_bare(limit + MAIN, path, *words, cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line == (
        "vmdepth-run: out.mp4: cannot be written (File too large); is the disk full?; what was written before is in "
        "out.partial.mp4"
    )
    assert json.loads((tmp_path / "r.json").read_text())["failure"] == line.removeprefix("vmdepth-run: ")
    assert count_frames(tmp_path / "out.partial.mp4") > 15  # its last frame is cut through
