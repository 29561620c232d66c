"""Faults that are planted in sessions on engines: the comparison that the other tests rest on catches each of them."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.sessions.cuda_graph import CudaGraph
from vmdepth_runtime.sessions.cuda_memory import CudaMemory
from vmdepth_runtime.sessions.state_buffers import StateBuffers
from vmdepth_runtime.sessions.tensorrt import TensorrtSession


def nothing(*_):
    """Instead of what was to be done."""


def a_step_before_the_frame_is_copied(session, patch):
    late, launch = [], CudaGraph.launch
    upload = session.memory.upload

    def launch_first(graph):
        launch(graph)
        for copy in late:
            upload(*copy)
        late.clear()

    patch.setattr(session.memory, "upload", lambda *copy: late.append(copy))
    patch.setattr(CudaGraph, "launch", launch_first)


def outputs_that_are_read_before_the_step(session, patch):
    late, launch, download = [], CudaGraph.launch, session.memory.download
    patch.setattr(CudaGraph, "launch", lambda graph: late.append(graph))

    def download_first(array, address):
        download(array, address)
        for graph in late:
            launch(graph)
        late.clear()

    patch.setattr(session.memory, "download", download_first)


def nobody_waits(session, patch):
    patch.setattr(session.memory, "wait", nothing)


def buffer_sets_that_are_swapped(session, patch):
    session._states.inputs.reverse()
    session._states.outputs.reverse()


def buffer_sets_that_never_swap(session, patch):
    states, advance = session._states, session._states.advance

    def stay(idle=()):
        advance(idle)
        states.turn = 0

    patch.setattr(states, "advance", stay)


def graphs_of_each_other_s_turn(session, patch):
    session._graphs.reverse()


def an_output_that_is_elsewhere(session, patch):
    session._addresses["descriptor"] = session.memory.allocate(session._outputs["descriptor"].nbytes)


def idle_streams_that_are_not_copied(session, patch):
    patch.setattr(session.memory, "copy", nothing)


def entries_that_are_not_kept(session, patch):
    patch.setattr(session.memory, "copy_rows", nothing)


def slots_that_never_turn(session, patch):
    states, advance = session._states, session._states.advance

    def without_counting(idle=()):
        before = list(states._frames)
        advance(idle)
        states._frames[:] = before

    patch.setattr(states, "advance", without_counting)


IN_SESSIONS = [
    a_step_before_the_frame_is_copied,
    outputs_that_are_read_before_the_step,
    nobody_waits,
    buffer_sets_that_are_swapped,
    buffer_sets_that_never_swap,
    graphs_of_each_other_s_turn,
    an_output_that_is_elsewhere,
    idle_streams_that_are_not_copied,
    entries_that_are_not_kept,
    slots_that_never_turn,
]


@pytest.mark.parametrize("plant", IN_SESSIONS, ids=lambda fault: fault.__name__)
def test_in_a_session(plant, engine, assert_steps_as_its_graph, monkeypatch):
    with TensorrtSession(engine) as session:
        plant(session, monkeypatch)
        with pytest.raises((AssertionError, WorkError)):
            assert_steps_as_its_graph(session)
        monkeypatch.undo()


def test_a_state_that_is_freed(standing_in, engine_of, remembering_graph, assert_steps_as_its_graph):
    with standing_in(gpus="2"), TensorrtSession(engine_of(remembering_graph), gpu=1) as session:
        with session.memory.current():
            session.memory._driver.cuMemFree(session._states.inputs[1]["layer_2.0.ssm"])
        with pytest.raises(WorkError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
            assert_steps_as_its_graph(session)


def a_context_that_keeps_the_other_s_addresses(patch):
    make = TensorrtSession._context
    patch.setattr(TensorrtSession, "_context", lambda session, library, turn: make(session, library, 0))


def outputs_of_states_where_they_are_read(patch):
    make = StateBuffers.__init__

    def in_place(states, contract, memory):
        make(states, contract, memory)
        states.outputs.reverse()

    patch.setattr(StateBuffers, "__init__", in_place)


def states_that_the_first_runs_left_behind(patch):
    load, reset = TensorrtSession._load, StateBuffers.reset

    def load_without(session, library, facts):
        once = []
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(StateBuffers, "reset", lambda states: once or once.append(reset(states)))
            load(session, library, facts)

    patch.setattr(TensorrtSession, "_load", load_without)


IN_LOADING = [
    a_context_that_keeps_the_other_s_addresses,
    outputs_of_states_where_they_are_read,
    states_that_the_first_runs_left_behind,
]


@pytest.mark.parametrize("plant", IN_LOADING, ids=lambda fault: fault.__name__)
def test_in_loading(plant, engine, assert_steps_as_its_graph, monkeypatch):
    with monkeypatch.context() as patch:
        plant(patch)
        session = TensorrtSession(engine)
    with session, pytest.raises((AssertionError, WorkError)):
        assert_steps_as_its_graph(session)


@contextmanager
def _whatever_is_current(memory):
    yield


@pytest.mark.parametrize("planted", [False, True])
def test_the_context_of_another_gpu(
    planted, standing_in, engine_of, remembering_graph, assert_steps_as_its_graph, monkeypatch
):
    with standing_in(gpus="2"):
        engine, other = engine_of(remembering_graph), CudaMemory(0)
        with other.current(), TensorrtSession(engine, gpu=1) as session:
            if planted:
                with monkeypatch.context() as patch:
                    patch.setattr(CudaMemory, "current", _whatever_is_current)
                    with pytest.raises(WorkError, match="CUDA_ERROR_INVALID_CONTEXT"):
                        assert_steps_as_its_graph(session)
            else:
                assert_steps_as_its_graph(session)
        other.close()


def test_an_engine_that_is_loaded_on_another_gpu(standing_in, engine_of, remembering_graph, monkeypatch):
    with standing_in(gpus="2"):
        engine, other = engine_of(remembering_graph), CudaMemory(0)
        load = TensorrtSession._load

        def load_elsewhere(session, library, facts):
            with other.current():
                load(session, library, facts)

        monkeypatch.setattr(TensorrtSession, "_load", load_elsewhere)
        with pytest.raises(WorkError, match=r"the engine failed \(execute_async_v3: addresses on devices \[1\]\)"):
            TensorrtSession(engine, gpu=1)
        other.close()
