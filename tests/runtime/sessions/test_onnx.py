from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from vmdepth_runtime import DepthStream
from vmdepth_runtime.contract import StateSpec
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sessions.state_buffers import HostMemory, StateBuffers

LUMA = np.array([0.25, 0.5, 0.25], np.float32) / 256


def frames(count, shape=(1, 28, 42, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_states_feed_back_exactly_over_50_frames(luma_model):
    state = np.zeros((1, 28, 42), np.float32)
    with OnnxSession(luma_model) as session:
        for count, frame in enumerate(frames(50), start=1):
            session.frame[:] = frame
            output = session.step()
            before, state = state, (frame.astype(np.float32) @ LUMA + state) * np.float32(0.5)
            np.testing.assert_array_equal(output["depth"], state)
            np.testing.assert_array_equal(session.states()["layer_2.0.ssm"], state)
            assert session.states()["counter"] == count
            change = np.linalg.norm(state - before) / (np.linalg.norm(before) + 1e-6)
            np.testing.assert_allclose(output["state_change"], [change], rtol=1e-4)
            np.testing.assert_allclose(np.linalg.norm(output["descriptor"], axis=1), 1, rtol=1e-5)


def test_spinning_threads_are_for_those_who_ask_for_them(luma_model):
    with (
        OnnxSession(luma_model) as plain,
        OnnxSession(luma_model, spin=True) as spinning,
        DepthStream(luma_model) as at,
    ):
        settings = [
            session._session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning")
            for session in (plain, spinning, at._session)
        ]
        assert settings == ["0", "1", "0"]
        for frame in frames(5):
            plain.frame[:] = spinning.frame[:] = frame
            np.testing.assert_array_equal(plain.step()["depth"], spinning.step()["depth"])
    with DepthStream(luma_model, spin=True) as stream:
        options = stream._session._session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_reset_and_restore_bring_a_stream_to_where_it_was(luma_model):
    session = OnnxSession(luma_model)
    snapshot = session.snapshot()
    sequence = frames(9)

    def play(some):
        depths = []
        for frame in some:
            session.frame[:] = frame
            depths.append(session.step()["depth"].copy())
        return np.stack(depths)

    first = play(sequence[:5])
    session.save(0, snapshot)
    rest = play(sequence[5:])
    session.reset()
    assert not any(array.any() for array in session.states().values())
    np.testing.assert_array_equal(play(sequence[:5]), first)
    play(sequence[5:6])
    session.restore(0, snapshot)
    np.testing.assert_array_equal(play(sequence[5:]), rest)


def test_state_copies_are_the_callers_own(luma_model):
    session = OnnxSession(luma_model)
    session.states()["counter"][:] = 7
    session.step()
    assert session.states()["counter"] == 1


def test_states_swap_between_two_buffers_and_the_frame_buffer_is_the_graphs_own(luma_model):
    session = OnnxSession(luma_model)
    frame_place = session.frame.ctypes.data
    buffers = StateBuffers(session.contract, HostMemory())
    inputs, outputs = buffers.inputs, buffers.outputs
    name = "layer_2.0.ssm"
    # What one step writes is where the next one reads: no copy in between.
    assert (outputs[0][name], outputs[1][name]) == (inputs[1][name], inputs[0][name])
    assert inputs[0][name] != inputs[1][name]
    for _ in range(6):
        output = session.step()
        np.testing.assert_array_equal(session.states()[name], output["depth"])
    session.frame[:] = 255
    assert session.frame.ctypes.data == frame_place
    session.reset()
    np.testing.assert_array_equal(session.step()["depth"], 255 / 512)


def test_a_step_allocates_nothing_that_grows(luma_model):
    session = OnnxSession(luma_model)
    first = session.step()
    tracemalloc.start()
    try:
        session.step()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(1000):
            session.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert session.step() is first
    one_map = 28 * 42 * 4
    assert (
        peak - before < 10 * one_map
    )  # ONNX Runtime's small handles come and go; a map per step would be 1000 of them


def test_several_streams_keep_apart(build_graph):
    session = OnnxSession(build_graph(streams=2))
    for frame in frames(5, (2, 28, 42, 3)):
        session.frame[:] = frame
        both = session.step()["depth"].copy()
    alone = OnnxSession(build_graph())
    for frame in frames(5, (2, 28, 42, 3)):
        alone.frame[:] = frame[1:]
        one = alone.step()["depth"]
    np.testing.assert_array_equal(both[1:], one)


def test_streams_are_reset_saved_restored_and_left_out_each_on_its_own(build_graph):
    both, alone = OnnxSession(build_graph(streams=2)), OnnxSession(build_graph())
    sequence = frames(12, (2, 28, 42, 3))
    snapshot = both.snapshot()
    first, second = [], []
    for number, frame in enumerate(sequence):
        if number == 3:
            both.save(1, snapshot)
        if number == 5:
            both.reset(0)
        if number == 8:
            both.restore(1, snapshot)
        both.frame[:] = frame
        depth = both.step(idle=(0,) if number in (6, 7) else ())["depth"].copy()
        first.append(depth[0])
        second.append(depth[1])

    def play(images):
        alone.reset()
        depths = []
        for image in images:
            alone.frame[:] = image
            depths.append(alone.step()["depth"][0].copy())
        return depths

    # Frames 6 and 7 of the first stream were seen, but not remembered.
    for got, expected in (
        (first[:5], play(sequence[:5, 0])),
        (first[5:6] + first[8:], play(sequence[[5, 8, 9, 10, 11], 0])),
        (second[:8], play(sequence[:8, 1])),
        (second[8:], play(sequence[[0, 1, 2, 8, 9, 10, 11], 1])[3:]),
    ):
        np.testing.assert_array_equal(got, expected)


def test_cuda_is_refused_where_onnx_runtime_has_none(luma_model):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(InputError, match=r"built without CUDA; .*onnxruntime-gpu.*--device cpu"):
        OnnxSession(luma_model, device="cuda")


def rename(model, side, old, new):
    for value in getattr(model.graph, side):
        if value.name == old:
            value.name = new
    for node in model.graph.node:
        for names in (node.input, node.output):
            for k, name in enumerate(names):
                if name == old:
                    names[k] = new


def make_symbolic(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


SPEC = StateSpec("layer_2.0.ssm", (1, 28, 42))
BREAKS = {
    "a state the graph lacks": (
        {"states": (SPEC, StateSpec("counter", (1,)), StateSpec("layer_3.0.ssm", (1, 4)))},
        None,
        "has no input 'state.layer_3.0.ssm'",
    ),
    "a state the contract lacks": (
        {"states": (SPEC,)},
        None,
        "has an input 'state.counter' its contract does not list",
    ),
    "another size": (
        {"height": 56},
        None,
        "has input 'frame' as tensor(uint8) [1, 28, 42, 3], its contract says uint8",
    ),
    "another dtype": (
        {"states": (SPEC, StateSpec("counter", (1,), dtype="float16"))},
        None,
        "has input 'state.counter' as tensor(float) [1], its contract says float16 [1]",
    ),
    "an output under another name": ({}, lambda m: rename(m, "output", "state_change", "change"), "'change'"),
    "a size left open": ({}, make_symbolic, "has input 'frame' as tensor(uint8) ['batch', 28, 42, 3]"),
    "no size": ({"height": 0}, None, "input size 0x42 is no size"),
    "no metadata": ({}, lambda m: m.ClearField("metadata_props"), "not a vmdepth step graph"),
    "a later contract": ({"version": 2}, None, "made for contract version 2"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_graph_that_breaks_the_contract_is_refused_in_one_line(build_graph, case):
    changes, touch, message = BREAKS[case]
    path = build_graph(touch=touch, **changes)
    with pytest.raises(InputError) as error:
        OnnxSession(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "vmdepth-export CHECKPOINT -o model.onnx" in text
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"", b"not a graph at all", b"\x08\x0a" * 300])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx: .*vmdepth-export"):
        OnnxSession(path)


@pytest.mark.parametrize(("name", "what"), [("missing.onnx", "no such model file"), (".", "is a folder, not a model")])
def test_a_missing_model_is_named(tmp_path, name, what):
    with pytest.raises(InputError, match=what):
        OnnxSession(Path(tmp_path, name))
