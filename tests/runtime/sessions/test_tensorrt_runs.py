"""Whole runs on engines, on stand-ins for TensorRT and a GPU: files, key frames and what is told, as on the CPU."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vmdepth_runtime import KeyframeSettings
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.sessions.load import load_session


@pytest.fixture
def videos(tmp_path, make):
    """Two of unlike length: the shorter stream idles at the end."""
    lengths = {"long": 9, "short": 5}
    return [make.video(tmp_path / f"{name}.mp4", make.noise(count)) for name, count in lengths.items()]


def arrays(path):
    with np.load(path) as found:
        return {name: found[name] for name in found.files}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_the_command_writes_what_it_writes_on_the_cpu(
    stand_in_gpu, engine_of, luma_model, vmdepth_run, videos, tmp_path, leaves_nothing
):
    engine, launched = engine_of(luma_model), stand_in_gpu.count("GRAPHS")
    options = ["--backend", "tensorrt", "--report", "run.json"]
    with leaves_nothing():
        outcome = vmdepth_run(videos[0], "-o", "engine.npz", "--model", engine, *options)
    assert outcome.code == 0, outcome.lines
    assert vmdepth_run(videos[0], "-o", "graph.npz", "--device", "cpu").code == 0
    assert_same(arrays(tmp_path / "engine.npz"), arrays(tmp_path / "graph.npz"))
    assert stand_in_gpu.count("GRAPHS") - launched >= 9
    assert json.loads((tmp_path / "run.json").read_text())["backend"] == "tensorrt 10.16.1"


def test_several_sources_at_once(stand_in_gpu, engine_of, remembering_graph, vmdepth_run, videos, tmp_path):
    engine = engine_of(remembering_graph)
    for name, model, device in (("engine", engine, "cuda"), ("graph", remembering_graph, "cpu")):
        outcome = vmdepth_run(*videos, "--streams", "-o", f"{name}-{{name}}.npz", "--model", model, "--device", device)
        assert outcome.code == 0, outcome.lines
    for video in videos:
        assert_same(arrays(tmp_path / f"engine-{video.stem}.npz"), arrays(tmp_path / f"graph-{video.stem}.npz"))


def test_a_place_that_is_seen_again_brings_its_states_back(engine, remembering_graph, make):
    settings = KeyframeSettings(
        capacity=3, interval=5, min_gap=8, similarity=0.99, max_state_change=1e6, drift=0.02, follow=1.0
    )
    frames = make.noise(40, 28, 42)
    frames[12:24, ..., 0] = 0  # another place
    frames[24:] = frames[24:] // 3  # the first one, far off in scale
    with load_session(engine) as session, load_session(remembering_graph, threads=1, device="cpu") as reference:
        batches = [StreamBatch(one, keyframes=settings) for one in (session, reference)]
        for frame in frames:
            ours, theirs = (batch.step([frame, frame[::-1]]) for batch in batches)
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(one.depth, other.depth)
                np.testing.assert_array_equal(one.moves, other.moves)
        assert_same(session.states(), reference.states())
        assert [bank.as_dict() for bank in batches[0].banks] == [bank.as_dict() for bank in batches[1].banks]
        assert all(bank.resets for bank in batches[0].banks)


def test_a_step_that_fails_ends_the_run_with_one_line_and_keeps_what_was_done(
    stand_in_gpu, engine_of, luma_model, vmdepth_run, videos, leaves_nothing
):
    engine = engine_of(luma_model)
    stand_in_gpu.fail("cuGraphLaunch", 719, after=4)
    with leaves_nothing():
        outcome = vmdepth_run(videos[0], "-o", "out.npz", "--model", engine)
    assert outcome.code == 1
    assert len([line for line in outcome.lines if "the GPU cannot launch what was recorded for it" in line]) == 1


def test_the_cpu_is_no_place_for_an_engine(stand_in_gpu, engine_of, luma_model, vmdepth_run, videos):
    outcome = vmdepth_run(videos[0], "-o", "out.npz", "--model", engine_of(luma_model), "--device", "cpu")
    assert outcome.code == 2
    assert outcome.lines[-1].endswith("is an engine, which runs on a GPU: --device cuda, or cuda:1 and so on")
