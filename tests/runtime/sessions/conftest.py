"""A step graph with every kind of state, and its engine on a stand-in for TensorRT and a GPU."""

from __future__ import annotations

import gc
from contextlib import contextmanager

import numpy as np
import pytest

from vmdepth_runtime.contract import Ring, StateSpec
from vmdepth_runtime.sessions.onnx import OnnxSession

STREAMS, HEIGHT, WIDTH, SLOTS = 2, 28, 42, 4
RING = StateSpec("layer_2.0.past", (STREAMS, HEIGHT, SLOTS, WIDTH), ring=Ring(SLOTS, 1, 2))


def _with_a_ring(model):
    """The depth is added to by what the ring holds, each slot weighed by another power of two."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    weights = np.float32([2, 1, 0.5, 0.25]).reshape(1, 1, SLOTS, 1) / 64
    graph.initializer.append(numpy_helper.from_array(weights, "of_slots"))
    graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "slots"))
    made = next(node for node in graph.node if "depth" in node.output)
    made.output[0] = "mean_luma"
    graph.node.extend(
        [
            helper.make_node("Mul", [RING.input_name, "of_slots"], ["weighed"]),
            helper.make_node("ReduceSum", ["weighed", "slots"], ["remembered"], keepdims=0),
            helper.make_node("Add", ["mean_luma", "remembered"], ["depth"]),
            helper.make_node("Identity", ["grey"], [RING.output_name]),
        ]
    )
    value = helper.make_tensor_value_info
    graph.input.append(value(RING.input_name, TensorProto.FLOAT, RING.shape))
    graph.output.append(value(RING.output_name, TensorProto.FLOAT, RING.next_shape))


@pytest.fixture(scope="session")
def remembering_graph(build_graph):
    """Two streams; recurrent states, a ring of four slots, and a state that only `dynamic` is made of."""
    shape = (STREAMS, HEIGHT, WIDTH)
    states = (
        StateSpec("layer_2.0.ssm", shape),
        StateSpec("counter", (STREAMS,)),
        StateSpec("dynamic.luma", shape),
        RING,
    )
    return build_graph(streams=STREAMS, extra_outputs=("confidence", "dynamic"), states=states, touch=_with_a_ring)


@pytest.fixture
def engine_of(tmp_path, monkeypatch):
    """`engine_of(graph)`: its engine, on the GPU that stands in while it is called."""
    from vmdepth_export.conversion.proven_engine import build_engine
    from vmdepth_export.engine import BuildSettings

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def build(graph):
        path = tmp_path / f"{graph.stem}.engine"
        assert build_engine(graph, path, BuildSettings("tensorrt"), frames=2)
        return path

    return build


@pytest.fixture
def engine(stand_in_gpu, engine_of, remembering_graph):
    return engine_of(remembering_graph)


def _noise(number):
    return np.random.default_rng(number).integers(0, 256, (STREAMS, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="session")
def assert_steps_as_its_graph(remembering_graph):
    """Steps a session and its graph in ONNX Runtime through the life of two streams; to the bit they are the same.

    Frames of which streams keep nothing, a stream that is reset, one that goes back to what was saved, and outputs and
    states of every frame.
    """

    def same(ours, theirs, what):
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array, err_msg=f"{name} {what}", strict=True)

    def check(session, frames=13):
        with OnnxSession(remembering_graph, threads=1) as reference:
            both = session, reference
            kept = [one.snapshot() for one in both]
            for number in range(frames):
                idle = {4: (1,), 6: (0, 1), 9: (0,)}.get(number, ())
                for one, snapshot in zip(both, kept, strict=True):
                    one.frame[...] = _noise(number)
                    if number == 3:
                        one.save(0, snapshot)
                    if number == 7:
                        one.reset(1)
                    if number == 8:
                        one.restore(0, snapshot)
                    if number == 11:
                        one.restore(1, snapshot, of_the_scene=True)
                same(*(one.step(idle) for one in both), f"of frame {number}")
                same(*(one.next_states() for one in both), f"given by frame {number}")
                same(*(one.states() for one in both), f"after frame {number}")
            for one in both:
                one.reset()
                one.frame[...] = _noise(0)
            same(*(one.step() for one in both), "after a reset")

    return check


@pytest.fixture
def leaves_nothing(stand_in_gpu):
    """`with leaves_nothing():` a block after which the GPU, which something else uses as well, is as it was."""
    from vmdepth_runtime.sessions.cuda_memory import CudaMemory

    def there():
        return {what: stand_in_gpu.count(what) for what in ("ALLOCATED", "CONTEXTS", "PINNED")}

    @contextmanager
    def block():
        gc.collect()  # what earlier tests left lying
        other = CudaMemory()
        before = there()
        try:
            yield
            gc.collect()  # errors, which know the last outputs
            assert there() == before
        finally:
            other.close()

    return block
