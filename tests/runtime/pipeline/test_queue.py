"""Several files in one run, one after the other; and pictures, each a file of its own."""

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
import cv2
import numpy as np
import pytest

from vmdepth_runtime import DepthStream, InputError, ReadSettings, RunSettings, run
from vmdepth_runtime.pipeline.jobs import Job

MAIN = "from vmdepth_runtime.pipeline.cli import main; main()"


def depth_of(path):
    with np.load(path) as data:
        return data["depth"]


def starts_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [float(frame.pts * stream.time_base) for frame in container.decode(stream)]


@pytest.fixture
def videos(tmp_path, make):
    """Two videos in a folder, of different sizes and lengths."""
    folder = tmp_path / "videos"
    folder.mkdir()
    make.video(folder / "a.mp4", make.noise(12, seed=1))
    make.video(folder / "b.mp4", make.noise(8, 96, 128, seed=2))
    return folder


@pytest.fixture
def photos(tmp_path, make):
    """Four pictures of three sizes in a folder, and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k, size in enumerate([(48, 64), (64, 48), (90, 80), (48, 64)]):
        make.image(folder / f"p{k}.png", make.noise(1, *size, seed=k)[0])
    (folder / "notes.txt").write_text("holidays")
    return folder


# -- several files -------------------------------------------------------------------------------------------------


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
        deadline = time.monotonic() + 60
        while not when() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
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


# -- pictures ------------------------------------------------------------------------------------------------------


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


def test_a_thousand_photographs_of_two_hundred_sizes_are_a_thousand_pictures(luma_model, tmp_path, make):
    (tmp_path / "photos").mkdir()
    sizes = {}
    for k in range(1000):
        sizes[f"IMG_{k}"] = (20 + k % 20, 20 + k % 200 // 20)
        make.image(tmp_path / "photos" / f"IMG_{k}.jpg", np.full((*sizes[f"IMG_{k}"], 3), k % 256, np.uint8))
    assert len(set(sizes.values())) == 200
    report = run(RunSettings((str(tmp_path / "photos"),), (str(tmp_path / "out" / "{name}.npy"),), luma_model))
    assert report["frames_out"] == 1000
    written = {path.stem: np.load(path).shape for path in (tmp_path / "out").iterdir()}
    assert written == sizes


def test_states_start_anew_at_each_picture(vmdepth_run, photos, tmp_path, luma_model):
    assert vmdepth_run(photos, "-o", "all/{name}.npy", "-o", "numbered/%03d.exr", "-o", "each/{name}.npz").code == 0
    with DepthStream(luma_model) as stream:
        for number, path in enumerate(sorted(photos.glob("*.png"))):
            stream.reset()
            depth = stream(cv2.imread(str(path))[..., ::-1].copy()).depth
            np.testing.assert_array_equal(np.load(tmp_path / "all" / f"{path.stem}.npy"), depth)
            np.testing.assert_array_equal(depth_of(tmp_path / "each" / f"{path.stem}.npz"), depth[None])
            assert (tmp_path / "numbered" / f"{number:03}.exr").exists()


def test_each_picture_has_its_own_step_and_says_it(vmdepth_run, photos, tmp_path):
    assert vmdepth_run(photos, "-o", "out/{name}.png", "-o", "out/{name}.npy").code == 0
    for path in photos.glob("*.png"):
        sidecar = json.loads((tmp_path / "out" / f"{path.stem}.json").read_text())
        steps = cv2.imread(str(tmp_path / "out" / path.name), cv2.IMREAD_UNCHANGED)
        assert steps.shape == (sidecar["height"], sidecar["width"])
        depth = np.load(tmp_path / "out" / f"{path.stem}.npy")
        np.testing.assert_allclose(steps * sidecar["depth_per_step"], depth, atol=sidecar["depth_per_step"])


def test_a_camera_sees_as_far_to_the_sides_in_pictures_of_all_sizes(vmdepth_run, photos, tmp_path):
    assert vmdepth_run(photos, "-o", "out/{name}.ply", "--fov", "60").code == 0
    for name in ("p0", "p2"):
        content = (tmp_path / "out" / f"{name}.ply").read_bytes()
        head, _, body = content.partition(b"end_header\n")
        assert b"format binary_little_endian" in head
        points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
        widest = np.abs(points[:, 0] / points[:, 2]).max()
        assert widest == pytest.approx(np.tan(np.radians(30)), rel=0.03)


def test_default_outputs_of_pictures(vmdepth_run, photos, tmp_path):
    assert vmdepth_run("photos").code == 0
    assert {path.stem for path in (tmp_path / "photos.depth").glob("*.png")} == {"p0", "p1", "p2", "p3"}
    assert vmdepth_run("photos/p1.png").lines[-1] == "vmdepth-run: wrote p1.depth.png"
    assert vmdepth_run("photos/p2.png", "photos/p3.png").lines[-1] == "vmdepth-run: wrote {name}.depth.png"
    assert {path.name for path in tmp_path.glob("*.png")} == {f"p{k}.depth.png" for k in (1, 2, 3)}


def test_two_sets_with_pictures_of_one_name_are_kept_apart(vmdepth_run, photos, tmp_path):
    photos.joinpath("../other").resolve().symlink_to(photos)
    outcome = vmdepth_run("photos", "other", "-o", "out/{name}.npy")
    assert outcome.code == 2
    assert (
        "p0.npy: is named as an output twice; put the source's number {} there, too, as in '{}_{name}.npy'"
        in (outcome.lines[0])
    )
    assert vmdepth_run("photos", "other", "-o", "out/{}_{name}.npy").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 8
    assert vmdepth_run("photos/p0.png", "other/p0.png", "-o", "out2/{name}.npy").code == 0
    assert {path.name for path in (tmp_path / "out2").iterdir()} == {"photos_p0.npy", "other_p0.npy"}
    outcome = vmdepth_run("photos", "-o", "photos.npy", "--no-images")
    assert "-o 'photos/%06d.npy' is one per frame" in outcome.lines[0]
    (photos / "p9.depth.png").write_bytes((photos / "p0.png").read_bytes())
    line = vmdepth_run("photos", "-o", "out3/{name}.npy").lines[0]
    assert line == "vmdepth-run: photos: 1 file is not taken, as named *.depth.* by an earlier run"


def test_one_picture_is_one_file(vmdepth_run, photos, videos, tmp_path):
    for output in ("depth.png", "depth.npy", "depth.exr", "new/depth.npz", "depth.mp4"):
        assert vmdepth_run(photos / "p0.png", "-o", output).code == 0
        assert (tmp_path / output).exists()
    assert cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert vmdepth_run(videos / "a.mp4", "-o", "fifth.npy", "--start", "4", "--frames", "1").code == 0
    outcome = vmdepth_run(photos, "-o", "second.npy", "--start", "1", "--frames", "1")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("vmdepth-run: 1 frame in, 1 out")
    assert np.load(tmp_path / "second.npy").shape == (64, 48)


def test_pictures_are_refused_what_has_no_room_for_them(vmdepth_run, photos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for words, message in [
        (["-o", "out.mp4"], "out.mp4: photos is 4 pictures, each on its own; -o 'out/{name}.png' gives each a file of"),
        (["-o", "out.npz"], "--no-images takes them as the frames of one video"),
        (["-o", "out.exr"], "-o 'out/{name}.exr' gives each a file of its own"),
        (["-o", "-"], "-: photos is 4 pictures"),
        (["-o", "{name}.ply", "--intrinsics", "50,50,20,20"], "of any size; give --fov DEGREES instead"),
        (["-o", "photos/{name}.png"], "among the source's own files"),
    ]:
        outcome = vmdepth_run("photos", *words)
        assert outcome.code == 2
        assert message in outcome.lines[0]
    outcome = vmdepth_run("photos/p0.png", "-o", "photos/{name}.png")
    assert "p0.png: is the source itself" in outcome.lines[0]
    assert sorted(tmp_path.rglob("*")) == before
    assert vmdepth_run("photos", "--no-images", "-o", "out.npz").code == 0
    assert depth_of(tmp_path / "out.npz").shape == (4, 48, 64)


def test_a_picture_that_cannot_be_read_is_a_failure_and_the_others_are_done(vmdepth_run, photos, tmp_path):
    (photos / "p1.png").write_bytes(b"garbage")
    outcome = vmdepth_run("photos", "-o", "out/{name}.npy", "--report", "r.json")
    assert outcome.code == 1
    assert "skipped frame 1 (p1.png): not a readable image" in outcome.lines[0]
    assert outcome.lines[-1] == (
        "vmdepth-run: photos: 1 of 4 pictures could not be read, as told above; the others are done"
    )
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"p0", "p2", "p3"}
    assert json.loads((tmp_path / "r.json").read_text())["frames_out"] == 3


def test_of_pictures_and_videos_in_one_folder_it_is_said_which_are_taken(vmdepth_run, photos, make, tmp_path):
    make.video(photos / "clip.mov", make.noise(2))
    outcome = vmdepth_run("photos", "-o", "out/{name}.npy")
    assert outcome.code == 0
    assert outcome.lines[0] == "vmdepth-run: photos: its 4 images are taken, 1 video is not; 'photos/*.mov' takes those"
    assert vmdepth_run("photos/*.mov", "-o", "out.npz").code == 0


def test_images_of_one_size_that_are_not_counted_may_be_meant_as_pictures(vmdepth_run, tmp_path, make):
    (tmp_path / "photos").mkdir()
    for number, image in zip((12, 15, 31), make.noise(3), strict=True):
        make.image(tmp_path / "photos" / f"IMG_{number}.png", image)
    line = (
        "vmdepth-run: photos: its 3 images are of one size and taken as the frames of a video; --images takes each on "
        "its own"
    )
    assert vmdepth_run("photos", "-o", "out.npz").lines[0] == line
    assert line not in vmdepth_run("photos", "-o", "out.npz", "--no-images").lines
    assert line not in vmdepth_run("photos", "-o", "out/{name}.npy", "--images").lines
    (tmp_path / "photos" / "IMG_15.png").rename(tmp_path / "photos" / "IMG_00.png")
    (tmp_path / "photos" / "IMG_31.png").rename(tmp_path / "photos" / "IMG_24.png")
    assert line not in vmdepth_run("photos", "-o", "out.npz").lines


# -- ranges --------------------------------------------------------------------------------------------------------


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
