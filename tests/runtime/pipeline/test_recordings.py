"""Recordings of a robot as outputs of a run, what is refused of them, and a long one."""

from __future__ import annotations

import json
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader
from rosbags.highlevel import AnyReader

from vmdepth_runtime.sources.video import VideoSource

MAIN = "from vmdepth_runtime.pipeline.cli import main; main()"


@pytest.fixture(scope="module")
def metric(build_graph):
    return build_graph(depth_kind="metric", extra_outputs=("confidence", "sky"))


@pytest.fixture
def video(make, tmp_path):
    return make.video(tmp_path / "in.mp4", make.noise(6))


def read(path):
    """topic → messages."""
    found = {}
    with AnyReader([path]) as reader:
        for connection, _, content in reader.messages():
            found.setdefault(connection.topic, []).append(reader.deserialize(content, connection.msgtype))
    return found


def test_a_recording_holds_what_the_archive_does_and_the_points_that_a_cloud_would(
    vmdepth_run, video, metric, tmp_path
):
    before = time.time()
    words = ["--model", metric, "--intrinsics", "50,45,31,24", "--points", "--max-points", "1000"]
    outcome = vmdepth_run(video, "-o", "r/run.mcap", "-o", "out.npz", "-o", "p/%d.ply", *words)
    assert (outcome.code, "wrote r/run.mcap" in outcome.lines[-1]) == (0, True)
    found = read(tmp_path / "r" / "run.mcap")
    assert {topic: len(messages) for topic, messages in found.items()} == {
        f"/vmdepth/{name}": 6 for name in ("depth/image", "depth/camera_info", "colour/compressed", "points")
    }
    with np.load(tmp_path / "out.npz") as data:
        for image, depth, seconds in zip(found["/vmdepth/depth/image"], data["depth"], data["times"], strict=True):
            assert image.data.tobytes() == depth.tobytes()
            stamp = image.header.stamp
            assert before <= stamp.sec + stamp.nanosec / 1e9 - seconds <= time.time()
    for number, cloud in enumerate(found["/vmdepth/points"]):
        head, _, body = (tmp_path / "p" / f"{number}.ply").read_bytes().partition(b"end_header\n")
        assert f"element vertex {cloud.width}\n".encode() in head
        points = cloud.data.reshape(-1, 16)
        assert np.array_equal(points[:, :12], np.frombuffer(body, np.uint8).reshape(-1, 15)[:, :12])


def test_metres_that_are_made_of_relative_depth_can_be_millimetres(vmdepth_run, video, tmp_path):
    words = ["--metres", "1,0.1", "--depth-encoding", "16UC1"]
    assert vmdepth_run(video, "-o", "run.mcap", "-o", "out.npz", *words).code == 0
    with np.load(tmp_path / "out.npz") as data:
        for image, depth in zip(read(tmp_path / "run.mcap")["/vmdepth/depth/image"], data["depth"], strict=True):
            assert image.encoding == "16UC1"
            assert np.abs(image.data.view("<u2").reshape(depth.shape) / 1000 - depth).max() <= 0.5e-3 + 1e-12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["-o", "run.mcap", "--depth-encoding", "16UC1"],
            "16UC1: is millimetres, and the model gives relative inverse",
        ),
        (["-o", "run.mcap", "--points"], "run.mcap: points need the camera; give --fov DEGREES or --intrinsics"),
        (["-o", "run.mcap", "--max-points", "9"], "--max-points 9: no output is a cloud (.ply); leave it out, or add"),
        (["-o", "run.npz", "--points"], "--points: no output is a recording (.mcap); leave it out, or add one"),
        (["-o", "run.npz", "--depth-encoding", "16UC1"], "--depth-encoding 16UC1: no output is a recording (.mcap)"),
        (["-o", "run.mcap", "-o", "run.mcap"], "run.mcap: is named as an output twice"),
        (["-o", "%06d.mcap"], "%06d.mcap: .mcap is one file for all frames"),
    ],
)
def test_what_a_recording_cannot_be_is_refused_before_any_work(vmdepth_run, video, tmp_path, words, message):
    outcome = vmdepth_run(video, *words)
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert message in outcome.lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_camera_that_nobody_said_is_told_and_left_out(vmdepth_run, video, tmp_path):
    outcome = vmdepth_run(video, "-o", "run.mcap", "--report", "r.json")
    assert outcome.code == 0
    (note,) = json.loads((tmp_path / "r.json").read_text())["notes"]
    assert note.startswith("run.mcap: has no CameraInfo")
    found = read(tmp_path / "run.mcap")
    relative = "/vmdepth/inverse_depth_relative"
    assert sorted(found) == ["/vmdepth/colour/compressed", f"{relative}/colours/compressed", f"{relative}/image"]
    # The colours are those that a picture of the depth would have.
    assert vmdepth_run(video, "-o", "%d.jpg").code == 0
    for number, message in enumerate(found[f"{relative}/colours/compressed"]):
        assert message.data.tobytes() == (tmp_path / f"{number}.jpg").read_bytes()


def test_colours_of_a_recording_of_metres_which_has_none(vmdepth_run, video, metric, tmp_path):
    outcome = vmdepth_run(video, "-o", "run.mcap", "--palette", "turbo", "--model", metric)
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert "--palette turbo: no output has colours" in outcome.lines[0]
    assert vmdepth_run(video, "-o", "run.mcap", "--palette", "turbo").code == 0


def test_a_recording_of_metres_has_nobody_look_at_the_source_beforehand(vmdepth_run, video, metric, monkeypatch):
    looked = []
    monkeypatch.setattr(VideoSource, "sample", lambda source, count: looked.append(source) or [])
    assert vmdepth_run(video, "-o", "run.mcap", "--model", metric).code == 0
    assert vmdepth_run(video, "-o", "run.mcap", "--metres", "1,0.1").code == 0
    assert looked == []
    assert vmdepth_run(video, "-o", "run.mcap").code == 0
    assert len(looked) == 1


def test_of_pictures_what_holds_for_all_files_is_said_once(vmdepth_run, make, metric, tmp_path):
    for k in range(3):
        make.image(tmp_path / f"{k}.png", make.noise(1)[0])
    outcome = vmdepth_run(".", "--images", "-o", "out/{name}.mcap", "--report", "r.json", "--model", metric)
    assert outcome.code == 0
    (note,) = json.loads((tmp_path / "r.json").read_text())["notes"]
    assert note.startswith("{name}.mcap: has no CameraInfo, as nothing is known of the camera")


def test_points_count_where_the_disk_has_no_room(vmdepth_run, video, metric, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=200_000))  # of 6 frames of 64x48
    words = [video, "-o", "run.mcap", "--model", metric, "--fov", "60"]
    outcome = vmdepth_run(*words, "--points")
    assert (outcome.code, "run.mcap: 6 frames of" in outcome.lines[-1]) == (2, True)
    assert "and the disk has" in outcome.lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert vmdepth_run(*words, "--points", "--max-points", "1000").code == 0


@pytest.fixture(scope="module")
def long(tmp_path_factory, make):
    """10,000 frames."""
    frames = make.noise(400, 54, 96)
    return make.video(tmp_path_factory.mktemp("long") / "long.mp4", frames[np.arange(10_000) % 400])


@pytest.mark.slow
def test_10000_frames_keep_memory_flat_and_all_are_there(start_bare, long, metric, tmp_path):
    cloud = ["--points", "--max-points", "1000", "--fov", "60"]
    words = [long, "-o", "run.mcap", *cloud, "--report", "r.json", "--model", metric]
    process = start_bare(MAIN, *words, cwd=tmp_path)
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    report = json.loads((tmp_path / "r.json").read_text())
    memory = np.array([entry["mib"] for entry in report["resident_memory"] if entry["frame"] >= 500])
    assert np.ptp(memory) <= 0.03 * memory[0]
    with AnyReader([tmp_path / "run.mcap"]) as reader:
        assert {connection.msgcount for connection in reader.connections} == {10_000}


@pytest.mark.slow
def test_a_killed_run_can_be_read_up_to_two_seconds_before(start_bare, long, metric, tmp_path):
    process = start_bare(MAIN, long, "-o", "run.mcap", "-o", "-", "--model", metric, cwd=tmp_path)
    taken = []
    while (read_at := time.monotonic()) and len(taken) < 5000:  # as slow as a camera, at 500 frames a second
        assert process.stdout.buffer.read(54 * 96 * 4)
        taken.append(read_at)
        time.sleep(0.002)
    process.kill()
    killed = time.monotonic()
    process.wait()
    (part,) = tmp_path.glob(".run.mcap.*.part")
    count = 0
    with part.open("rb") as file, pytest.raises(EndOfFile):
        for _, channel, _ in NonSeekingReader(file).iter_messages(log_time_order=False):
            count += channel.topic == "/vmdepth/depth/image"
    assert count >= sum(1 for at in taken if at < killed - 2)
    assert process.returncode == -signal.SIGKILL
