"""Depth that was measured beside the pictures of a recording makes metres of a network's: as it goes, or once and for
all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vmdepth_runtime import DepthStream
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding.points import PointCloud
from vmdepth_runtime.encoding.ros_messages import depth_image, point_cloud

SCALE, SHIFT = 1.5, 0.2
TOPIC = "/lidar/depth"


@pytest.fixture(scope="module")
def true(luma_model, frames):
    """Metres of each frame: what the small model's depth, streamed, is with scale and shift."""
    with DepthStream(luma_model) as stream:
        return np.stack([1 / (SCALE * stream(frame).depth + SHIFT) for frame in frames])


@pytest.fixture
def drive(record, frames, true, tmp_path):
    """`drive(points=None, wrong=0.05, lidar=range(8), rounds=1, rate=10)`: a recording with depth measured of some
    frames. rounds: with the same stamps; in each a blind measurement follows."""

    def make(*, points=None, wrong=0.05, lidar=range(8), rounds=1, rate=10):
        interval = 10**9 // rate
        entries = record.camera(frames, [record.begin + number * interval for number in range(len(frames))])
        random = np.random.default_rng(0)
        for number in lidar:
            seen = np.where(random.random(true[0].shape) < wrong, random.uniform(0.3, 9, true[0].shape), true[number])
            if points is not None:
                seen.ravel()[random.permutation(seen.size)[points:]] = np.nan
            stamp = record.begin + number * interval
            message = depth_image(stamp, "left", seen.astype(np.float32), DEPTH_KINDS["metric"])
            entries.append((TOPIC, "sensor_msgs/msg/Image", stamp + 3 * 10**6, message))
        if rounds > 1:
            stamp = record.begin + len(frames) * interval
            blind = depth_image(stamp, "left", np.full_like(true[0], np.nan, np.float32), DEPTH_KINDS["metric"])
            entries.append((TOPIC, "sensor_msgs/msg/Image", stamp + 3 * 10**6, blind))
        all_of_them = [
            (topic, kind, time + turn * 10**10, message)
            for turn in range(rounds)
            for topic, kind, time, message in sorted(entries, key=lambda entry: entry[2])
        ]
        return record.mcap(tmp_path / "drive.mcap", all_of_them)

    return make


@pytest.mark.parametrize("points", [None, 200])
def test_a_run_follows_it(drive, true, vmdepth_run, tmp_path, points):
    outcome = vmdepth_run(drive(points=points), "-o", "d.npz", "--align-to", TOPIC, "--report", "r.json")
    assert outcome.code == 0, outcome.lines
    with np.load(tmp_path / "d.npz") as archive:
        assert archive["depth_kind"] == "metric"
        np.testing.assert_allclose(archive["depth"], true, rtol=0.01)
    report = json.loads((tmp_path / "r.json").read_text())
    alignment = report["sources"][0]["alignment"]
    assert (alignment["fits"], alignment["frames_without"]) == (8, 0)
    assert report["model"]["depth_unit"] == "m"


def test_before_anything_was_measured_there_is_no_depth_and_a_warning_says_so(drive, true, vmdepth_run, tmp_path):
    outcome = vmdepth_run(drive(lidar=range(3, 8)), "-o", "d.npz", "-o", "d.mp4", "--align-to", TOPIC)
    assert outcome.code == 0, outcome.lines
    with np.load(tmp_path / "d.npz") as archive:
        assert np.isnan(archive["depth"][:3]).all()
        np.testing.assert_allclose(archive["depth"][3:], true[3:], rtol=0.01)
    assert f"vmdepth-run: warning: 3 frames have no depth: {TOPIC} had measured too little until then" in outcome.lines


def test_where_stamps_go_back_it_is_followed_from_there_on(drive, true, vmdepth_run, tmp_path):
    outcome = vmdepth_run(drive(rounds=2), "-o", "d.npz", "--align-to", TOPIC, "--report", "r.json")
    assert outcome.code == 0, outcome.lines
    assert json.loads((tmp_path / "r.json").read_text())["sources"][0]["alignment"]["fits"] == 16
    with np.load(tmp_path / "d.npz") as archive:
        np.testing.assert_allclose(archive["depth"], np.concatenate([true, true]), rtol=0.01)


def test_points_are_seen_by_the_camera_that_is_given(record, frames, true, luma_model, vmdepth_run, tmp_path):
    """Of a recording that says nothing of its own."""
    from vmdepth_calibrate import ScaleSettings, fit_scale
    from vmdepth_runtime import InputError

    y, x = np.indices(true[0].shape)
    entries = [entry for entry in record.camera(frames) if "camera_info" not in entry[0]]
    for number, z in enumerate(true):
        points = np.stack([(x - 20) / 40 * z, (y - 14) / 41 * z, z], axis=-1).reshape(-1, 3).astype(np.float32)
        cloud = point_cloud(
            record.begin + number * record.interval, "left", PointCloud(points, np.zeros((len(points), 3), np.uint8))
        )
        entries.append((TOPIC, "sensor_msgs/msg/PointCloud2", entries[number][2] + 1, cloud))
    path = record.mcap(tmp_path / "drive.mcap", sorted(entries, key=lambda entry: entry[2]))
    outcome = vmdepth_run(path, "-o", "d.npz", "--align-to", TOPIC)
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert "nothing says what the camera of /cam/image_raw sees (CameraInfo, --camera)" in outcome.lines[0]
    with pytest.raises(InputError, match="nothing says what the camera"):
        fit_scale(ScaleSettings(luma_model, str(path), tmp_path / "m.onnx"))
    outcome = vmdepth_run(path, "-o", "d.npz", "--align-to", TOPIC, "--camera", "40,41,20,14")
    assert outcome.code == 0, outcome.lines
    with np.load(tmp_path / "d.npz") as archive:
        np.testing.assert_allclose(archive["depth"], true, rtol=1e-3)
    result = fit_scale(ScaleSettings(luma_model, str(path), tmp_path / "m.onnx", camera="40,41,20,14"))
    assert result.metres.scale == pytest.approx(SCALE, rel=1e-3)


def test_damaged_measurements_are_counted_and_told(drive, record, frames, true, vmdepth_run, tmp_path):
    entries = record.camera(frames)
    message = depth_image(record.begin, "left", true[0].astype(np.float32), DEPTH_KINDS["metric"])
    for number in range(3):
        bad = {**message, "data": b"damaged"} if number else message
        entries.append((TOPIC, "sensor_msgs/msg/Image", entries[-1][2] + 1, bad))
    record.mcap(tmp_path / "bad.mcap", entries)
    outcome = vmdepth_run("bad.mcap", "-o", "d.npz", "--align-to", TOPIC, "--report", "r.json")
    assert outcome.code == 0, outcome.lines
    (told,) = json.loads((tmp_path / "r.json").read_text())["sources"][0]["warnings"]
    assert f"{TOPIC}: 2 messages are left out, the first: damaged" in told
    assert f"vmdepth-run: warning: {told}" in outcome.lines


def test_depth_of_other_times_is_told(drive, record, true, frames, vmdepth_run, tmp_path):
    entries = record.camera(frames)
    message = depth_image(record.begin + 10**12, "left", true[0].astype(np.float32), DEPTH_KINDS["metric"])
    entries.append((TOPIC, "sensor_msgs/msg/Image", entries[-1][2] + 1, message))
    record.mcap(tmp_path / "late.mcap", entries)
    outcome = vmdepth_run("late.mcap", "-o", "d.npz", "--align-to", TOPIC)
    assert outcome.code == 1
    why = f"{TOPIC} makes no metres: it measured nothing within 50 ms of a frame"
    assert outcome.lines[0] == f"vmdepth-run: warning: {why}"
    assert outcome.lines[-1] == f"vmdepth-run: late.mcap: {why}; its frames have no depth"


def test_what_cannot_be_followed_is_refused(drive, frames, make, build_graph, vmdepth_run, tmp_path):
    path = drive()
    make.video(tmp_path / "walk.mp4", frames)
    for words, told in (
        ((path, "--align-to", "/nothing"), "/nothing"),
        (("walk.mp4", "--align-to", TOPIC), "walk.mp4 is none; leave it out"),
        ((path, "--align-to", TOPIC, "--metres", "1,2"), "both make metres; leave one out"),
        ((path, "--align-to", TOPIC, "--rectify"), "is of frames as they are, not rectified; leave --rectify out"),
        ((path, "--align-to", TOPIC, "--model", build_graph(depth_kind="metric")), "already; leave it out"),
    ):
        outcome = vmdepth_run(*words, "-o", "d.npz")
        assert (outcome.code, len(outcome.lines)) == (2, 1), outcome.lines
        assert told in outcome.lines[0]
    assert not (tmp_path / "d.npz").exists()


@pytest.mark.parametrize("points", [None, 200])
def test_it_is_fitted_once_and_for_all(drive, true, frames, luma_model, tmp_path, points):
    from vmdepth_calibrate import ScaleSettings, fit_scale

    settings = ScaleSettings(luma_model, str(drive(points=points)), tmp_path / "m.onnx", depth_topic=TOPIC)
    result = fit_scale(settings)
    assert result.frames == 8
    assert result.metres.scale == pytest.approx(SCALE, rel=0.01)
    assert result.metres.shift == pytest.approx(SHIFT, rel=0.01)
    with DepthStream(settings.output) as stream:
        for frame, metres in zip(frames, true, strict=True):
            np.testing.assert_allclose(stream(frame).depth, metres, rtol=0.01)


@pytest.mark.parametrize("changes", [{"rate": 60}, {"rounds": 2}])
def test_each_picture_is_fitted_to_its_own_measurement_by_the_states_of_its_own_round(
    drive, luma_model, tmp_path, changes
):
    """Pictures faster than measurements may be apart; stamps that go back."""
    from vmdepth_calibrate import ScaleSettings, fit_scale

    result = fit_scale(ScaleSettings(luma_model, str(drive(wrong=0, **changes)), tmp_path / "m.onnx"))
    assert result.frames == 8 * changes.get("rounds", 1)
    assert result.seen.mean < 1e-5 and result.held_out.mean < 1e-5


def test_frames_are_counted_by_what_was_measured_of_them(drive, luma_model, tmp_path, monkeypatch):
    from vmdepth_calibrate import ScaleSettings, fit_scale
    from vmdepth_runtime import InputError

    done, data = [], str(drive(lidar=range(3, 8)))
    settings = ScaleSettings(luma_model, data, tmp_path / "m.onnx", frames=3)
    result = fit_scale(settings, moved=lambda count, total: done.append((count, total)))
    assert result.frames == 3
    assert done[-1] == (3, None)
    monkeypatch.setattr("vmdepth_calibrate.scale.fit_scale._LOOKED_AT", 3)
    with pytest.raises(InputError, match=" 0 points of measured depth"):
        fit_scale(ScaleSettings(luma_model, data, tmp_path / "m.onnx", frames=1))


def test_depth_of_another_shape_than_its_pictures_is_refused(record, frames, luma_model, vmdepth_run, tmp_path):
    from vmdepth_calibrate import ScaleSettings, fit_scale
    from vmdepth_runtime import InputError

    (height, width), entries = frames[0].shape[:2], record.camera(frames)
    message = depth_image(record.begin, "left", np.full((height // 2, width), 2, np.float32), DEPTH_KINDS["metric"])
    entries.append((TOPIC, "sensor_msgs/msg/Image", entries[0][2] + 1, message))
    path = record.mcap(tmp_path / "drive.mcap", sorted(entries, key=lambda entry: entry[2]))
    told = f"depth of {width}x{height // 2} for a picture of {width}x{height}, of another shape"
    with pytest.raises(InputError, match=told):
        fit_scale(ScaleSettings(luma_model, str(path), tmp_path / "m.onnx"))
    outcome = vmdepth_run(path, "-o", "d.npz", "--align-to", TOPIC)
    assert outcome.code != 0
    assert f"--align-to {TOPIC}: {told}" in outcome.lines[-1]


def test_a_recording_of_too_few_points_is_refused(drive, luma_model, tmp_path):
    from vmdepth_calibrate import ScaleSettings, fit_scale
    from vmdepth_runtime import InputError

    path = drive(points=20, lidar=range(4))
    with pytest.raises(InputError, match="60 points of measured depth to fit to, of a recording within 50 ms"):
        fit_scale(ScaleSettings(luma_model, str(path), tmp_path / "m.onnx"))
    assert [file.name for file in tmp_path.iterdir()] == ["drive.mcap"]
