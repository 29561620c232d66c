"""The recording, read by another library than wrote it: every depth, stamp and number of the camera."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import cv2
import mcap.writer
import numpy as np
import pytest
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vmdepth_runtime import InputError, SourceFrame, WorkError, open_sink
from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.ros_definitions import DEFINITIONS
from vmdepth_runtime.sinks.formats import mcap_recording
from vmdepth_runtime.sinks.open import check_output, foretell

LENS = replace(
    Lens.of(intrinsics=(50.5, 45.25, 31, 23.75)), distortion=Distortion("plumb_bob", (0.1, -0.02, 3e-4, -4e-5, 0.005))
)
BEGAN = 1_700_000_000_123_456_789


def read(path):
    """topic → [(time in the recording, message)], by rosbags."""
    found = {}
    with AnyReader([path]) as reader:
        for connection, time, content in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(content, connection.msgtype)))
    return found


def stamp_of(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@pytest.fixture(scope="module")
def depths():
    made = np.random.default_rng(5).uniform(0.05, 65, (200, 48, 64)).astype(np.float32)
    made[3, :4, :4] = np.nan
    made[7] = np.nan
    return made


@pytest.fixture(scope="module")
def frames(make, depths):
    """200 frames whose stamps are a camera's: to the nanosecond, with jitter and a jump."""
    gaps = np.random.default_rng(6).integers(30_000_000, 37_000_000, len(depths))
    gaps[100] = 5 * 10**9
    stamps = BEGAN + np.cumsum(gaps)
    images = make.noise(len(depths))
    return [SourceFrame(k, k / 30, image, stamp=int(stamps[k])) for k, image in enumerate(images)]


def record(path, facts, frames, depths):
    """The colours of a frame's depth are its picture upside down."""
    with open_sink(path, facts) as sink:
        for frame, depth in zip(frames, depths, strict=True):
            sink.write(frame, depth, frame.image[::-1] if sink.wants_colour else frame.image[:0])
    return sink


def test_depth_stamps_and_camera_come_back_bit_by_bit(tmp_path, facts, frames, depths):
    made = facts(depth_kind="metric", lens=LENS, frame_id="front_optical_frame")
    assert record(tmp_path / "run.mcap", made, frames, depths).notes == []
    found = read(tmp_path / "run.mcap")
    assert sorted(found) == ["/vmdepth/colour/compressed", "/vmdepth/depth/camera_info", "/vmdepth/depth/image"]
    for messages in found.values():
        assert [time for time, _ in messages] == [frame.stamp for frame in frames]
        assert [stamp_of(message) for _, message in messages] == [frame.stamp for frame in frames]
        assert {message.header.frame_id for _, message in messages} == {"front_optical_frame"}
    for (_, image), depth in zip(found["/vmdepth/depth/image"], depths, strict=True):
        assert (image.encoding, image.height, image.width, image.is_bigendian) == ("32FC1", 48, 64, 0)
        assert image.data.tobytes() == depth.tobytes()
    for _, info in found["/vmdepth/depth/camera_info"]:
        assert (info.width, info.height) == (64, 48)
        assert info.k.tolist() == [50.5, 0, 31, 0, 45.25, 23.75, 0, 0, 1]
        assert (info.distortion_model, tuple(info.d)) == ("plumb_bob", LENS.distortion.coefficients)
    for (_, picture), frame in zip(found["/vmdepth/colour/compressed"], frames, strict=True):
        image = cv2.imdecode(picture.data, cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(image.astype(int) - frame.image).mean() < 4


def test_millimetres_are_within_half_of_one_and_what_they_do_not_hold_is_counted(tmp_path, facts, frames, depths):
    far = depths.copy()
    far[5, 0, :3] = 65.6, 300, np.inf
    sink = record(tmp_path / "run.mcap", facts(depth_kind="metric", lens=LENS, depth_encoding="16UC1"), frames, far)
    assert sink.notes == ["run.mcap: 3 pixels were beyond the 65.535 m that 16UC1 holds, and are 0"]
    for (_, image), depth in zip(read(tmp_path / "run.mcap")["/vmdepth/depth/image"], far, strict=True):
        assert image.encoding == "16UC1"
        held = image.data.view("<u2").reshape(depth.shape)
        there = depth <= np.float32(65.535)
        assert np.array_equal(held > 0, there)
        assert np.abs(held[there] / 1000 - depth[there]).max(initial=0) <= 0.5e-3 + 1e-12


@pytest.mark.parametrize(
    ("kind", "topic", "encoding"),
    [
        ("relative", "/vmdepth/inverse_depth_relative", "32FC1; inverse relative"),
        ("scaled", "/vmdepth/depth_scaled", "32FC1; scaled, no metres"),
    ],
)
def test_depth_that_is_no_metres_has_another_topic_and_encoding(tmp_path, facts, frames, depths, kind, topic, encoding):
    sink = record(tmp_path / "run.mcap", facts(depth_kind=kind), frames[:2], depths[:2])
    (note,) = sink.notes
    assert "has no CameraInfo, as nothing is known of the camera; --fov or --intrinsics" in note
    found = read(tmp_path / "run.mcap")
    assert sorted(found) == sorted(["/vmdepth/colour/compressed", f"{topic}/colours/compressed", f"{topic}/image"])
    picture = cv2.imdecode(found[f"{topic}/colours/compressed"][1][1].data, cv2.IMREAD_COLOR)[::-1, :, ::-1]
    assert np.abs(picture.astype(int) - frames[1].image).mean() < 4
    assert {image.encoding for _, image in found[f"{topic}/image"]} == {encoding}
    assert found[f"{topic}/image"][1][1].data.tobytes() == depths[1].tobytes()


def test_points_are_those_of_the_depth(tmp_path, facts, frames, depths):
    made = facts(depth_kind="metric", lens=LENS, points=True)
    smooth = np.broadcast_to(np.linspace(2, 3, 64, dtype=np.float32), (2, 48, 64))
    record(tmp_path / "run.mcap", made, frames[:2], smooth)
    for (_, cloud), frame in zip(read(tmp_path / "run.mcap")["/vmdepth/points"], frames, strict=False):
        assert stamp_of(cloud) == frame.stamp
        x, y, z = cloud.data.view("<f4").reshape(-1, 4)[:, :3].T
        assert len(z) == 64 * 48
        np.testing.assert_allclose(z, smooth[0].ravel())
        matrix, still = np.array([[50.5, 0, 31], [0, 45.25, 23.75], [0, 0, 1]]), np.zeros(3)
        rays = np.stack([x / z, y / z, np.ones_like(z)], axis=1).astype(np.float64)
        pixels = cv2.projectPoints(rays, still, still, matrix, np.array(LENS.distortion.coefficients))[0][:, 0]
        np.testing.assert_allclose(pixels[:, 0], np.tile(np.arange(64), 48), atol=1e-3)
        np.testing.assert_allclose(pixels[:, 1], np.repeat(np.arange(48), 64), atol=1e-3)
    with pytest.raises(InputError, match=r"--points: the camera is not known"):
        open_sink(tmp_path / "new" / "other.mcap", facts(points=True))
    assert [path.name for path in tmp_path.iterdir()] == ["run.mcap"]


def test_a_source_without_stamps_begins_when_the_run_did(tmp_path, facts, make, depths):
    plain = [SourceFrame(k, k / 10, image) for k, image in enumerate(make.noise(3))]
    record(tmp_path / "run.mcap", facts(depth_kind="metric", began=BEGAN), plain, depths[:3])
    times = [time - BEGAN for time, _ in read(tmp_path / "run.mcap")["/vmdepth/depth/image"]]
    assert times == [0, 100_000_000, 200_000_000]


def test_a_compressed_recording_holds_the_same_in_less(tmp_path, facts, frames, depths):
    smooth = np.round(depths[:8], 1)
    for name, compress in (("plain", False), ("small", True)):
        record(tmp_path / f"{name}.mcap", facts(depth_kind="metric", compress=compress), frames[:8], smooth)
    found = [message.data.tobytes() for _, message in read(tmp_path / "small.mcap")["/vmdepth/depth/image"]]
    assert found == [depth.tobytes() for depth in smooth]
    assert (tmp_path / "small.mcap").stat().st_size < 0.6 * (tmp_path / "plain.mcap").stat().st_size


def test_definitions_are_those_of_ros():
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in DEFINITIONS.items():
        for held, fields in get_types_from_msg(text, name).items():
            assert store.fielddefs[held] == fields


KILLED = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from vmdepth_runtime import SinkFacts, SourceFrame, VideoInfo, open_sink
from vmdepth_runtime.sinks.formats import mcap_recording

mcap_recording._FLUSH = 0.05
sink = open_sink("run.mcap", SinkFacts(VideoInfo(64, 48, None, 4.0, 1 / 4), depth_kind="metric"))
(part,) = Path().iterdir()
for k in range(30):
    depth = np.full((48, 64), k, np.float32)
    sink.write(SourceFrame(k, k / 4, np.zeros((48, 64, 3), np.uint8)), depth, None)
end = time.monotonic() + 30  # the camera stands still
while depth.tobytes() not in part.read_bytes() and time.monotonic() < end:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_while_the_camera_stood_still_all_can_be_read(tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path)
    assert process.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    found = []
    with part.open("rb") as file, pytest.raises(EndOfFile):
        reader = NonSeekingReader(file, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages(log_time_order=False):
            if channel.topic == "/vmdepth/depth/image":
                found.append(np.frombuffer(message.data, np.float32)[0])
    assert found == list(range(30))


def test_a_disk_that_is_full_while_nothing_comes_is_told_with_the_next_frame(
    tmp_path, facts, frames, depths, monkeypatch
):
    failed = Event()

    def fail(*_):
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mcap_recording, "_FLUSH", 0.01)
    monkeypatch.setattr(mcap.writer.Writer, "flush", fail)
    sink = open_sink(tmp_path / "run.mcap", facts(depth_kind="metric"))
    sink.write(frames[0], depths[0], frames[0].image[:0])
    assert failed.wait(30)
    with pytest.raises(WorkError, match=r"run.mcap: cannot be written \(No space left on device\)"):
        sink.write(frames[1], depths[1], frames[1].image[:0])
    with pytest.raises(WorkError, match=r"what was written before is in .*run.partial.mcap"):
        sink.close()


def test_what_was_written_before_the_disk_was_full_is_kept(tmp_path, facts, frames, depths, monkeypatch):
    sink = open_sink(tmp_path / "run.mcap", facts(depth_kind="metric"))
    for frame, depth in zip(frames[:20], depths, strict=False):
        sink.write(frame, depth, np.empty((0, 0, 3), np.uint8))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mcap_recording._Recorder, "finish", fail)
    with pytest.raises(WorkError, match=r"is the disk full\?; what was written before is in .*run.partial.mcap"):
        sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["run.partial.mcap"]


def test_what_writes_it_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcap_ros2.writer", None)
    with pytest.raises(
        InputError, match=r"run.mcap: recordings need mcap-ros2-support: pip install 'vmdepth\[robots\]'"
    ):
        check_output(str(tmp_path / "run.mcap"))


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({}, "3.7 GiB; --compress saves about a seventh"),
        ({"compress": True}, "3.7 GiB; compressed about a seventh less"),
        ({"depth_kind": "metric"}, "3.6 GiB; --compress saves about a seventh"),
        ({"depth_kind": "metric", "depth_encoding": "16UC1", "frames": 6000}, "3.9 GiB; --compress saves about half"),
        ({"depth_kind": "metric", "points": True}, "17.4 GiB; --compress saves about a quarter"),
        ({"points": True, "cloud": CloudSettings(max_points=100_000)}, "7.2 GiB; --compress saves about a quarter"),
    ],
)
def test_a_large_recording_is_foretold_with_its_pictures_and_points(tmp_path, facts, known, told, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100 << 30))
    frames = known.get("frames", 3000)
    made = facts(480, 640, **{name: value for name, value in known.items() if name != "frames"})
    line = foretell(str(tmp_path / "run.mcap"), replace(made, info=replace(made.info, frames=frames)))
    assert f"{frames} frames of 640x480 are {told}, 16-bit images are smaller" in line
