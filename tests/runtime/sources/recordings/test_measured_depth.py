"""Depth that was measured beside the pictures of a recording makes metres of a network's: as it goes, or once and for
all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vmdepth_runtime import DepthStream
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.encoding.ros_messages import depth_image

SCALE, SHIFT = 1.5, 0.2
TOPIC = "/lidar/depth"


@pytest.fixture(scope="module")
def true(luma_model, frames):
    """Metres of each frame: what the small model's depth, streamed, is with scale and shift."""
    with DepthStream(luma_model) as stream:
        return np.stack([1 / (SCALE * stream(frame).depth + SHIFT) for frame in frames])


@pytest.fixture
def drive(record, frames, true, tmp_path):
    """`drive(points=None, wrong=0.05, lidar=range(8))`: a recording with depth measured of some frames."""

    def make(*, points=None, wrong=0.05, lidar=range(8)):
        entries, random = record.camera(frames), np.random.default_rng(0)
        for number in lidar:
            seen = np.where(random.random(true[0].shape) < wrong, random.uniform(0.3, 9, true[0].shape), true[number])
            if points is not None:
                seen.ravel()[random.permutation(seen.size)[points:]] = np.nan
            stamp = record.begin + number * record.interval
            message = depth_image(stamp, "left", seen.astype(np.float32), DEPTH_KINDS["metric"])
            entries.append((TOPIC, "sensor_msgs/msg/Image", stamp + 3 * 10**6, message))
        return record.mcap(tmp_path / "drive.mcap", sorted(entries, key=lambda entry: entry[2]))

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


def test_a_recording_of_too_few_points_is_refused(drive, luma_model, tmp_path):
    from vmdepth_calibrate import ScaleSettings, fit_scale
    from vmdepth_runtime import InputError

    path = drive(points=20, lidar=range(4))
    with pytest.raises(InputError, match="60 points of measured depth to fit to, of a recording within 20 ms"):
        fit_scale(ScaleSettings(luma_model, str(path), tmp_path / "m.onnx"))
    assert [file.name for file in tmp_path.iterdir()] == ["drive.mcap"]
