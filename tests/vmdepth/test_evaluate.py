"""Accuracy on cases whose value is known, and on the bundled model."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vmdepth.data.rgbd import RgbdFolder, RgbdFrame, rendered_frames
from vmdepth.evaluate import (
    FRAMES_PER_CLIP,
    accuracy,
    evaluate_sequences,
    fit_affine,
    mean_map_accuracy,
    stream_depth,
)
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official_images import depth_at, network_size, prepare_still
from vmdepth.session import TorchSession
from vmdepth_runtime import bundled
from vmdepth_runtime.session import OnnxSession


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(1, 20, (4, 10, 12)).astype(np.float32)


def test_inverse_depth_up_to_scale_and_shift_is_perfect(depth):
    figures = accuracy((3 / depth - 0.1).astype(np.float32), depth)
    assert figures.delta1 == 1
    assert figures.absrel < 1e-3


def test_fit_is_least_squares():
    x = np.array([0.0, 1, 2, 3])
    assert fit_affine(x, 5 * x - 2) == pytest.approx((5, -2))
    assert fit_affine(np.ones(4), x) == pytest.approx((0, 1.5))


def test_delta1_counts_pixels_within_a_quarter(depth):
    guess = 1 / depth
    guess[:, :, :3] /= 1.5  # a quarter of the pixels, off by half
    fitted = fit_affine(guess, 1 / depth)
    ratio = np.maximum((fitted[0] * guess + fitted[1]) * depth, 1 / ((fitted[0] * guess + fitted[1]) * depth))
    assert accuracy(guess, depth).delta1 == pytest.approx((ratio < 1.25).mean())


def test_sky_and_unknown_depth_count_for_nothing(depth):
    spoilt = depth.copy()
    spoilt[:, 0] = np.inf
    spoilt[:, 1] = 0
    assert accuracy(1 / depth, spoilt).delta1 == 1
    assert mean_map_accuracy([spoilt, spoilt]).delta1 <= 1  # unknown depth is no depth, and no warning
    with pytest.raises(ValueError, match="no pixel of known depth"):
        accuracy(1 / depth, np.full_like(depth, np.inf))


def test_mean_map_is_perfect_for_clips_that_are_all_alike(depth):
    still = np.broadcast_to(depth[:1], depth.shape)
    assert mean_map_accuracy([still, 2 * still]).delta1 == 1
    assert mean_map_accuracy([depth, depth[:, ::-1]]).delta1 < 0.7


def depths_of(session, frames, resize="area"):
    return np.stack([depth for _, depth in stream_depth(session, frames, resize)])


def frame_of(image, depth=None):
    depth = np.ones(image.shape[:2], np.float32) if depth is None else depth
    return RgbdFrame(image, depth, np.stack(np.indices(depth.shape)[::-1], axis=-1).astype(np.float32))


def test_clips_are_streamed_from_zero_states():
    with OnnxSession(bundled.MODEL) as session:
        height, width = session.contract.height, session.contract.width
        frames = [frame_of(i) for i in np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)]
        np.testing.assert_array_equal(depths_of(session, frames), depths_of(session, frames))


def still_model(**settings):
    torch.manual_seed(0)
    return VideoDepth(replace(PRESETS["tiny"], head="none", taps=(), **settings)).eval()


def test_official_preparation_is_that_of_depth_anything():
    model = still_model()
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    prepared = prepare_still(image, 42)
    depth = depths_of(TorchSession(model, *network_size(30, 50, 42)), [frame_of(image)], "cubic")[0]
    rounded = torch.from_numpy((prepared * 255).clip(0, 255).round() / 255).permute(2, 0, 1)
    with torch.no_grad():
        expected = depth_at(model(rounded[None, None].float())[0][0, 0, 0].numpy(), 30, 50)
    assert np.abs(depth - expected).max() < 0.01 * np.ptp(expected)  # OpenCV's cubic of bytes is off by a grey level


def test_metric_depth_is_judged_by_its_inverse():
    metric = TorchSession(still_model(depth="metric"), 28, 42)
    frames = list(rendered_frames(0, FRAMES_PER_CLIP, 28, 42))
    truth = np.stack([frame.depth for frame in frames])
    expected = accuracy(1 / np.maximum(depths_of(metric, frames), 1e-3), truth)
    assert evaluate_sequences(metric, [frames])[0] == expected


def test_sequences_count_the_same_each():
    session = TorchSession(still_model(), 28, 42)
    sequences = [list(rendered_frames(seed, seed + 2, 28, 42)) for seed in range(2)]
    alone = [evaluate_sequences(session, [sequence])[0] for sequence in sequences]
    assert evaluate_sequences(session, sequences)[0].delta1 == pytest.approx(np.mean([a.delta1 for a in alone]))


def test_the_bundled_model_beats_the_best_mean_map_by_15_points():
    with OnnxSession(bundled.MODEL) as session:
        size = session.contract.height, session.contract.width
        sequences = (rendered_frames(seed, FRAMES_PER_CLIP, *size) for seed in range(64))
        own, blind = evaluate_sequences(session, sequences)
    assert own.delta1 >= blind.delta1 + 0.15, (own, blind)


def test_measured_depth_of_a_real_sequence(shared_data, tmp_path):
    """A short copy of it: as it is written, the command reads every frame and fits once."""
    for name, ending in (("rgb", "jpg"), ("depth", "png")):
        (tmp_path / name).mkdir()
        for number in range(0, 40, 10):
            file = f"{name}/{number:06d}.{ending}"
            (tmp_path / file).symlink_to(shared_data / "rgbd_office_a" / file)
    (tmp_path / "intrinsics.json").symlink_to(shared_data / "rgbd_office_a" / "intrinsics.json")
    done = vmdepth_eval(bundled.MODEL, tmp_path, "--report", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    assert "on 4 frames of" in done.stdout
    figures = json.loads((tmp_path / "report.json").read_text())
    with OnnxSession(bundled.MODEL) as session:
        own, blind = evaluate_sequences(session, [RgbdFolder(tmp_path)])
    assert figures["accuracy"] == {"delta1": own.delta1, "absrel": own.absrel}
    assert figures["mean_map"]["delta1"] == blind.delta1 > 0.4


def vmdepth_eval(*arguments):
    command = [sys.executable, "-m", "vmdepth.evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_tells_and_reports(tmp_path):
    report = tmp_path / "report.json"
    done = vmdepth_eval(bundled.MODEL, "rendered:2", "--report", report)
    assert done.returncode == 0, done.stderr
    assert "δ1" in done.stdout
    assert set(json.loads(report.read_text())["accuracy"]) == {"delta1", "absrel"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("none.onnx", "rendered:2"),
        ("none.pth", "rendered"),
        (bundled.MODEL, "nowhere"),
        (bundled.MODEL, "rendered:0"),
        (bundled.MODEL, "rendered", "--official"),  # made for a smaller size
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments):
    done = vmdepth_eval(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
