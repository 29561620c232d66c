"""`vmdepth-run` on recordings: as on any file, with what they know of their camera."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest


@pytest.fixture
def drive(record, frames, tmp_path):
    return record.mcap(tmp_path / "drive.mcap", record.camera(frames))


def test_depth_is_that_of_the_same_frames_in_a_folder(record, drive, frames, make, vmdepth_run, tmp_path):
    for number, frame in enumerate(frames):
        make.image(tmp_path / f"frame{number}.png", frame)
    assert vmdepth_run(tmp_path / "*.png", "-o", "folder.npz", "--fps", "10").code == 0
    for source in (drive, record.bag(tmp_path / "bag", record.camera(frames))):
        assert vmdepth_run(source, "-o", "drive.npz").code == 0
        with np.load(tmp_path / "drive.npz") as drive, np.load(tmp_path / "folder.npz") as folder:
            assert np.array_equal(drive["depth"], folder["depth"])
            assert drive["times"] == pytest.approx(folder["times"])


def test_a_cloud_needs_no_field_of_view_where_the_recording_knows_its_camera(
    record, frames, drive, vmdepth_run, tmp_path
):
    assert vmdepth_run(drive, "-o", "known.ply", "--frames", "1").code == 0
    numbers = "40,41,20,14"
    assert vmdepth_run(drive, "-o", "told.ply", "--frames", "1", "--intrinsics", numbers).code == 0
    assert (tmp_path / "known.ply").read_bytes() == (tmp_path / "told.ply").read_bytes()
    blind = record.mcap(tmp_path / "blind.mcap", record.camera(frames)[1::2])
    outcome = vmdepth_run(blind, "-o", "blind.ply", "--frames", "1")
    assert outcome.code == 2
    assert outcome.lines == [
        "vmdepth-run: blind.ply: points need the camera, and blind.mcap says nothing of it (no CameraInfo); give --fov "
        "DEGREES or --intrinsics FX,FY,CX,CY|FILE"
    ]
    assert not (tmp_path / "blind.ply").exists()


def test_why_what_a_recording_says_of_its_camera_is_not_taken_is_told(record, frames, vmdepth_run, tmp_path):
    record.mcap(tmp_path / "other.mcap", record.camera(frames, width=40, height=40))
    outcome = vmdepth_run("other.mcap", "-o", "other.ply", "--frames", "1")
    assert outcome.code == 2
    assert "other.ply: points need the camera, and" in outcome.lines[-1]
    assert "40x40" in outcome.lines[-1]


def test_what_a_killed_run_left_of_a_recording_is_to_be_renamed(drive, vmdepth_run, tmp_path):
    (tmp_path / ".kill.mcap.123.part").write_bytes(drive.read_bytes())
    for more in ((), ("--topic", "/camera/image")):
        outcome = vmdepth_run(".kill.mcap.123.part", "-o", "out.npz", *more)
        assert outcome.code == 2
        assert outcome.lines == [
            "vmdepth-run: .kill.mcap.123.part: is what a run that was killed left of kill.mcap; rename it to kill.mcap "
            "to read it"
        ]


def test_a_jump_is_where_the_states_start_anew(record, frames, vmdepth_run, tmp_path):
    stamps = [record.begin + k * record.interval + 10**10 * (k >= 4) for k in range(8)]
    record.mcap(tmp_path / "jump.mcap", record.camera(frames, stamps))
    record.mcap(tmp_path / "later.mcap", record.camera(frames[4:]))
    outcome = vmdepth_run("jump.mcap", "later.mcap", "-o", "{name}.npz")
    assert outcome.code == 0
    assert any("after 10.1 s without a frame the stream starts anew" in line for line in outcome.lines)
    with np.load(tmp_path / "jump.npz") as jump, np.load(tmp_path / "later.npz") as later:
        assert np.array_equal(jump["depth"][4:], later["depth"])


def test_a_video_goes_on_where_the_clock_was_set(record, frames, vmdepth_run, tmp_path):
    """As on a board without a clock, which learns the time while it films."""
    stamps = [(record.begin if k >= 4 else 10**9) + k * record.interval for k in range(8)]
    record.mcap(tmp_path / "drive.mcap", record.camera(frames, stamps))
    outcome = vmdepth_run("drive.mcap", "-o", "out.mp4")
    assert outcome.code == 0
    assert any("stamps go forward by 1699999999.100 s, the stream starts anew" in line for line in outcome.lines)
    with av.open(str(tmp_path / "out.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([k / 10 for k in range(8)], abs=1e-4)


def test_what_is_lost_is_in_the_report(record, frames, vmdepth_run, tmp_path):
    entries = record.camera(frames)
    entries[5] = record.image(frames[2], entries[5][2], data=b"too little")
    record.mcap(tmp_path / "drive.mcap", entries)
    assert vmdepth_run("drive.mcap", "-o", "drive.npz", "--report", "run.json").code == 0
    (source,) = json.loads((tmp_path / "run.json").read_text())["sources"]
    assert (source["promised_frames"], source["frames_in"], source["frames_out"]) == (8, 8, 7)
    assert source["skipped"][0]["index"] == 2


def test_no_output_becomes_a_part_of_a_recording(record, drive, frames, vmdepth_run, tmp_path):
    bag = record.bag(tmp_path / "bag", record.camera(frames), plugin="MCAP")
    (part,) = bag.glob("*.mcap")
    more = bag / "more.mcap"
    assert vmdepth_run("bag", "-o", "bag/depth.npz").code == 0
    assert vmdepth_run("bag", "-o", more).code == 0  # of which the bag's metadata knows nothing
    more.unlink()
    listed = (bag / "metadata.yaml").read_text()
    missing = listed.replace(f"- {part.name}", f"- {part.name}\n  - more.mcap")
    for told in (listed, missing, "rosbag2_bagfile_information: [broken"):
        (bag / "metadata.yaml").write_text(told)
        whole = part.read_bytes()
        for source, output in [
            ("bag", part),
            (drive, part),
            *((s, more) for s in ("bag", part, drive) if told != listed),
        ]:
            outcome = vmdepth_run(source, "-o", output)
            assert outcome.code == 2 and len(outcome.lines) == 1, outcome.lines
            assert f"{output}: would be a part of the recording {bag}; choose another folder" in outcome.lines[0]
        assert part.read_bytes() == whole and not more.exists()
    outcome = vmdepth_run(drive, "-o", drive)
    assert outcome.code == 2 and len(outcome.lines) == 1, outcome.lines


def test_a_folder_and_a_file_of_it_are_one_topic_twice(record, frames, vmdepth_run, tmp_path):
    bag = record.bag(tmp_path / "bag", record.camera(frames), plugin="MCAP")
    record.mcap(bag / "more.mcap", record.camera(frames))
    (tmp_path / "link").symlink_to(bag)
    for sources, told in [
        (("bag", "bag/bag.mcap"), "bag/bag.mcap: has files of bag, a source as well, and both are of one topic; leave"),
        (("link/bag.mcap", "bag"), "bag: has files of link/bag.mcap, a source as well, and both are of one topic"),
        (("link", "bag"), "bag: is a source twice, and both are of one topic; leave one out"),
    ]:
        outcome = vmdepth_run(*sources, "-o", "out{}.npz")
        assert outcome.code == 2 and told in outcome.lines[-1], outcome.lines
    assert vmdepth_run("bag", "bag/more.mcap", "-o", "out{}.npz").code == 0


def test_what_cannot_be_meant_is_refused_before_anything_is_done(drive, vmdepth_run, tmp_path):
    for arguments, line in [
        ((drive, drive.parent / "x" / ".." / drive.name), "drive.mcap: is a source twice, and both are of one topic"),
        (("demo", "--topic", "/cam"), "--topic /cam: is of recordings of robots, and no source is one; leave it out"),
        (
            (drive, "--topic", "/cam"),
            "the topic /cam is not in it; those with pictures are /cam/image_raw (sensor_msgs",
        ),
    ]:
        (tmp_path / "x").mkdir(exist_ok=True)
        outcome = vmdepth_run(*arguments, "-o", "out{}.npz")
        assert outcome.code == 2 and line in outcome.lines[-1], outcome.lines
        assert not list(tmp_path.glob("out*"))


def test_what_is_recorded_of_a_recording_has_its_stamps_its_frame_and_its_camera(
    drive, frames, record, vmdepth_run, tmp_path
):
    from rosbags.highlevel import AnyReader

    assert vmdepth_run(drive, "-o", "run.mcap").code == 0
    with AnyReader([drive]) as given, AnyReader([tmp_path / "run.mcap"]) as made:
        cameras, stamps = [], []
        for reader in (given, made):
            infos = [c for c in reader.connections if c.msgtype == "sensor_msgs/msg/CameraInfo"]
            told = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(infos)]
            cameras.append([(info.header.frame_id, info.width, info.height, *info.k, *info.d) for info in told])
            stamps.append([(info.header.stamp.sec, info.header.stamp.nanosec) for info in told])
    assert cameras[0] == cameras[1] and stamps[0] == stamps[1] and len(stamps[0]) == len(frames)


def test_what_a_run_recorded_is_a_source_whose_pictures_are_its_colour(drive, vmdepth_run, tmp_path):
    assert vmdepth_run(drive, "-o", "run.mcap").code == 0
    colour, coloured = "/vmdepth/colour/compressed", "/vmdepth/inverse_depth_relative/colours/compressed"
    for name, topic in (("again", []), ("colour", ["--topic", colour]), ("coloured", ["--topic", coloured])):
        assert vmdepth_run("run.mcap", *topic, "-o", f"{name}.npz").code == 0
    again, named, other = (np.load(tmp_path / f"{name}.npz")["depth"] for name in ("again", "colour", "coloured"))
    assert np.array_equal(again, named) and not np.array_equal(again, other)
