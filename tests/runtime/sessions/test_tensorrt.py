"""Engines as sessions, on stand-ins for TensorRT and a GPU: what the graph does in ONNX Runtime, to the bit."""

from __future__ import annotations

import gc
import re
from dataclasses import replace

import numpy as np
import pytest

from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.engine_sidecar import read_sidecar, sidecar_of, to_sidecar
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sessions.tensorrt import TensorrtSession

OUT_OF_MEMORY, INVALID_VALUE, STREAM_CAPTURE_INVALIDATED, LAUNCH_FAILED = 2, 1, 901, 719


def test_an_engine_steps_as_its_graph_does_through_the_life_of_its_streams(
    engine, assert_steps_as_its_graph, stand_in_gpu
):
    launched = stand_in_gpu.count("GRAPHS")
    with TensorrtSession(engine) as session:
        assert_steps_as_its_graph(session)
        assert session.runs_on == "tensorrt 10.16.1 on Stand-in 0"
        assert session.captured is True
    assert stand_in_gpu.count("GRAPHS") - launched == 14  # every one of its steps


def test_without_graphs_every_step_is_launched_by_itself(engine, assert_steps_as_its_graph, stand_in_gpu):
    launched = stand_in_gpu.count("GRAPHS")
    with TensorrtSession(engine, graphs=False) as session:
        assert_steps_as_its_graph(session)
        assert session.captured is False
    assert stand_in_gpu.count("GRAPHS") == launched


@pytest.mark.parametrize(
    "call", ["cuStreamBeginCapture", "cuLaunchHostFunc", "cuStreamEndCapture", "cuGraphInstantiate"]
)
@pytest.mark.parametrize("turn", [0, 1])
def test_an_engine_that_cannot_be_captured_is_launched_by_itself(
    engine, assert_steps_as_its_graph, stand_in_gpu, leaves_nothing, call, turn
):
    first = {"cuLaunchHostFunc": 2 * turn + 1}.get(call, turn)  # it has run once before it is captured
    with leaves_nothing():
        stand_in_gpu.fail(call, STREAM_CAPTURE_INVALIDATED, after=first)
        launched = stand_in_gpu.count("GRAPHS")
        with TensorrtSession(engine) as session:
            assert_steps_as_its_graph(session)
            assert session.captured is False
        assert stand_in_gpu.count("GRAPHS") - launched == 7  # the steps of the other turn
        del session


def test_the_error_that_a_failed_capture_left_behind_is_not_the_engine_s(
    engine, assert_steps_as_its_graph, stand_in_gpu, monkeypatch
):
    import tensorrt

    execute, results = tensorrt.IExecutionContext.execute_async_v3, [True, False]
    stand_in_gpu.fail("cuStreamBeginCapture", STREAM_CAPTURE_INVALIDATED)

    def once_told_the_error(context, stream_handle):
        return (results.pop(0) if results else True) and execute(context, stream_handle)

    monkeypatch.setattr(tensorrt.IExecutionContext, "execute_async_v3", once_told_the_error)
    with TensorrtSession(engine) as session:
        assert results == []
        assert_steps_as_its_graph(session)


def test_what_crosses_is_a_frame_and_the_outputs_and_nothing_of_the_states(engine, stand_in_gpu):
    with TensorrtSession(engine) as session:
        frame, outputs = session.frame.nbytes, sum(array.nbytes for array in session.step().values())
        before = [stand_in_gpu.count(what) for what in ("BYTES_TO_DEVICE", "BYTES_TO_HOST", "ALLOCATIONS")]
        for _ in range(10):
            session.step()
        after = [stand_in_gpu.count(what) for what in ("BYTES_TO_DEVICE", "BYTES_TO_HOST", "ALLOCATIONS")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [10 * frame, 10 * outputs, 0]


def test_arrays_that_were_handed_out_stay_readable_and_all_else_goes(engine, leaves_nothing, stand_in_gpu):
    with leaves_nothing():
        session = TensorrtSession(engine)
        session.frame[...] = 200
        depth = session.step()["depth"]
        seen = depth.copy()
        assert seen.min() > 0
        session.close()
        session.close()
        np.testing.assert_array_equal(depth, seen)
        del session
        pinned = stand_in_gpu.count("PINNED")
        del depth
        assert pinned - stand_in_gpu.count("PINNED") == seen.nbytes


def test_going_back_to_saved_states_waits_for_nothing(engine, stand_in_gpu):
    with TensorrtSession(engine) as session:
        saved = session.snapshot()
        stand_in_gpu.fail("cuStreamSynchronize", LAUNCH_FAILED)
        session.save(0, saved)
        session.restore(0, saved)
        with pytest.raises(WorkError, match="the GPU cannot finish its work"):
            session.step()


def test_an_engine_on_another_gpu_whatever_is_current(
    standing_in, engine_of, remembering_graph, assert_steps_as_its_graph
):
    with standing_in(gpus="2") as gpu:
        engine = engine_of(remembering_graph)
        gc.collect()
        contexts = gpu.count("CONTEXTS")
        first, second = TensorrtSession(engine), load_session(engine, device="cuda:1")
        assert second.runs_on.endswith("Stand-in 1")
        for _ in range(3):  # by turns, and the older one is closed first
            first.step()
            second.step()
        first.reset()
        assert_steps_as_its_graph(first)
        first.close()
        second.reset()
        assert_steps_as_its_graph(second)
        second.close()
        assert gpu.count("CONTEXTS") == contexts
        with pytest.raises(InputError, match=r"GPU 3: is not here; there are 0 \(Stand-in 0\), 1 \(Stand-in 1\)"):
            load_session(engine, device="cuda:3")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("cuMemAlloc", "the GPU cannot give another 1 MiB: CUDA_ERROR_OUT_OF_MEMORY; end what else uses it, or take a"),
        ("cuMemHostAlloc", "the GPU cannot pin memory of the host: CUDA_ERROR_OUT_OF_MEMORY"),
    ],
)
def test_memory_that_gives_out_is_one_line_and_nothing_is_left(engine, stand_in_gpu, leaves_nothing, call, told):
    with leaves_nothing():
        for after in range(100):
            stand_in_gpu.fail(call, OUT_OF_MEMORY, after=after)
            try:
                TensorrtSession(engine).close()
            except (InputError, WorkError) as error:
                assert str(error).startswith(f"{engine}: ")
                assert "\n" not in str(error)
                assert "the GPU cannot" not in str(error) or told in str(error)
            else:
                break
        stand_in_gpu.fail("none", 0)
    assert after > 5


def test_a_gpu_that_is_too_small(standing_in, engine_of, remembering_graph):
    with standing_in():
        engine = engine_of(remembering_graph)
    with (
        standing_in(memory="30000"),
        pytest.raises(WorkError, match=r"luma\.engine: the GPU cannot give another 1 MiB: CUDA_ERROR_OUT_OF_MEMORY"),
    ):
        TensorrtSession(engine)


def test_a_launch_that_fails_is_one_line(engine, stand_in_gpu, leaves_nothing):
    with leaves_nothing(), TensorrtSession(engine) as session:
        session.step()
        stand_in_gpu.fail("cuGraphLaunch", LAUNCH_FAILED)
        with pytest.raises(
            WorkError, match=r"^\S+luma\.engine: the GPU cannot launch what was recorded for it: CUDA_ERR"
        ):
            session.step()
        session.close()
        del session


def test_an_enqueue_that_fails_is_told_with_what_the_library_says(engine, stand_in_gpu, leaves_nothing, monkeypatch):
    import tensorrt

    with leaves_nothing():
        monkeypatch.setattr(tensorrt.IExecutionContext, "execute_async_v3", _refuse)
        with pytest.raises(
            WorkError, match=r"luma\.engine: the engine failed \(out of kernels and luck\); 'vmdepth-par"
        ):
            TensorrtSession(engine)
        monkeypatch.undo()
        stand_in_gpu.fail("cuStreamBeginCapture", INVALID_VALUE)
        with TensorrtSession(engine) as session:
            monkeypatch.setattr(tensorrt.IExecutionContext, "execute_async_v3", _refuse)
            with pytest.raises(WorkError, match=r"the engine failed \(out of kernels and luck\)"):
                session.step()
        del session


def _refuse(context, stream_handle):
    import tensorrt

    context._engine._logger.log(tensorrt.ILogger.Severity.ERROR, "out of kernels\nand luck")
    return False


def test_a_context_that_is_spoilt_is_let_go_of_and_the_next_session_is_refused_in_one_line(
    standing_in, engine_of, remembering_graph, leaves_nothing
):
    spoilt = "CUDA_ERROR_ILLEGAL_ADDRESS; end this process and start it again$"
    with standing_in(gpus="2"):
        engine = engine_of(remembering_graph)
        with leaves_nothing(), TensorrtSession(engine, gpu=1) as session:
            session.step()
            with session.memory.current():
                session.memory._driver.cuMemFree(session._addresses["depth"])
            with pytest.raises(WorkError, match=rf"^\S+luma\.engine: the GPU cannot .*: {spoilt}"):
                session.step()
            with pytest.raises(WorkError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
                session.states()
            session.close()
            del session
            with pytest.raises(WorkError, match=rf"^the GPU cannot make a stream: {spoilt}"):
                TensorrtSession(engine, gpu=1)
        TensorrtSession(engine, gpu=0).close()


@pytest.mark.parametrize("what", ["lacks", "has more", "shape", "dtype"])
def test_an_engine_that_is_not_what_its_sidecar_says(engine, leaves_nothing, what):
    contract, facts = read_sidecar(engine)
    states = {state.name: state for state in contract.states}
    luma = states.pop("dynamic.luma")
    changed = {
        "lacks": [*contract.states, replace(states["counter"], name="clock")],
        "has more": states.values(),
        "shape": [*states.values(), replace(luma, shape=(2, 28, 43))],
        "dtype": [*states.values(), replace(luma, dtype="float16")],
    }[what]
    sidecar_of(engine).write_text(to_sidecar(replace(contract, states=tuple(changed)), facts))
    name = {"lacks": "next.clock"}.get(what, "next.dynamic.luma")
    with leaves_nothing(), pytest.raises(InputError, match=rf"its '{re.escape(name)}' is not as its sidecar says"):
        TensorrtSession(engine)


def test_a_file_that_the_library_does_not_load(engine, leaves_nothing):
    engine.write_bytes(b"something else")
    with leaves_nothing(), pytest.raises(InputError, match="is not the engine its sidecar describes"):
        TensorrtSession(engine)
    refused = (
        r"tensorrt cannot load it \(deserialization failed: .*\); build it again with 'vmdepth-export luma.onnx -o"
    )
    with leaves_nothing(), pytest.raises(InputError, match=refused):
        TensorrtSession(engine, verify=False)


def test_a_name_that_the_context_does_not_take(engine, leaves_nothing, monkeypatch):
    import tensorrt

    monkeypatch.setattr(tensorrt.IExecutionContext, "set_tensor_address", lambda *_: False)
    with leaves_nothing(), pytest.raises(WorkError, match="the engine does not take its 'frame'"):
        TensorrtSession(engine)


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (
            {"capability": "8.7"},
            r"built for compute capability 8\.9, this Stand-in 0 has 8\.7; build it again on this mac",
        ),
        ({"gpus": "0"}, r"needs an NVIDIA GPU of compute capability 8\.9"),
    ],
)
def test_an_engine_on_another_machine(standing_in, engine_of, remembering_graph, machine, told):
    with standing_in(capability="8.9"):
        engine = engine_of(remembering_graph)
    with standing_in(**machine), pytest.raises(InputError, match=told):
        load_session(engine)
