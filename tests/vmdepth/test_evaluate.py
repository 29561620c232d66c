"""Accuracy on cases whose value is known, and on the bundled model."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from vmdepth.data.synthetic import render_clips
from vmdepth.evaluate import (
    FRAMES_PER_CLIP,
    accuracy,
    evaluate_rendered,
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
    with pytest.raises(ValueError, match="no pixel of known depth"):
        accuracy(1 / depth, np.full_like(depth, np.inf))


def test_mean_map_is_perfect_for_clips_that_are_all_alike(depth):
    still = np.broadcast_to(depth[:1], depth.shape)
    assert mean_map_accuracy([still, 2 * still]).delta1 == 1
    assert mean_map_accuracy([depth, depth[:, ::-1]]).delta1 < 0.7


def test_clips_are_streamed_from_zero_states():
    with OnnxSession(bundled.MODEL) as session:
        height, width = session.contract.height, session.contract.width
        images = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
        np.testing.assert_array_equal(stream_depth(session, images), stream_depth(session, images))


def test_official_preparation_is_that_of_depth_anything():
    torch.manual_seed(0)
    model = VideoDepth(replace(PRESETS["tiny"], head="none", taps=())).eval()
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    prepared = prepare_still(image, 42)
    session = TorchSession(model, *network_size(30, 50, 42))
    depth = stream_depth(session, [image], official=True)[0]
    rounded = torch.from_numpy((prepared * 255).clip(0, 255).round() / 255).permute(2, 0, 1)
    with torch.no_grad():
        expected = depth_at(model(rounded[None, None].float())[0][0, 0, 0].numpy(), 30, 50)
    assert np.abs(depth - expected).max() < 0.01 * np.ptp(expected)  # OpenCV's cubic of bytes is off by a grey level


def test_metric_depth_is_judged_by_its_inverse():
    """The same weights called metric: the figures are those of 1 / depth."""
    torch.manual_seed(0)
    config = replace(PRESETS["tiny"], head="none", taps=())
    model = VideoDepth(config).eval()
    metric = VideoDepth(replace(config, depth="metric")).eval()
    metric.load_state_dict(model.state_dict())
    images = render_clips([0], FRAMES_PER_CLIP, 28, 42)
    frames = (images.rgb[0].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    depth = stream_depth(TorchSession(metric, 28, 42), frames)
    expected = accuracy(1 / np.maximum(depth, 1e-3), images.depth[0, :, 0].numpy())
    assert evaluate_rendered(TorchSession(metric, 28, 42), 1)[0] == expected


@pytest.fixture(scope="module")
def bundled_figures():
    with OnnxSession(bundled.MODEL) as session:
        return evaluate_rendered(session, 64)


def test_the_bundled_model_beats_the_best_mean_map(bundled_figures):
    own, blind = bundled_figures
    assert own.delta1 > blind.delta1, bundled_figures


@pytest.mark.xfail(
    strict=True, reason="the bundled model has learnt for an hour and a half on two CPU cores only: see its card"
)
def test_the_bundled_model_beats_the_best_mean_map_by_15_points(bundled_figures):
    own, blind = bundled_figures
    assert own.delta1 >= blind.delta1 + 0.15, bundled_figures


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
        ("none.onnx", "nowhere"),
        (bundled.MODEL, "rendered", "--official"),  # made for a smaller size
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments):
    done = vmdepth_eval(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
