"""An engine that is wrong is not kept, and `--bisect` looks inside it; on a stand-in for TensorRT and a GPU."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from vmdepth_export.conversion import proven_engine
from vmdepth_export.conversion.cli import command
from vmdepth_export.conversion.proven_engine import build_engine
from vmdepth_export.engine import BuildSettings
from vmdepth_export.graph import expand, read_step_graph
from vmdepth_export.parity import engine_probe
from vmdepth_export.parity.bisect import first_divergence
from vmdepth_export.parity.cli import command as parity
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.sessions.engine_sidecar import read_sidecar, sidecar_of
from vmdepth_runtime.sessions.library_log import collecting_logger

GRAPH, FAULTY = Path(bundled.MODEL), "encoder.blocks.4.expand/Conv_1"


@pytest.fixture
def output(building, tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "edge.engine"


def test_the_candidate_runs_on_the_gpu_that_is_named(output, run):
    assert build_engine(GRAPH, output, BuildSettings("tensorrt"), 2)
    code, told = run(parity, GRAPH, output, "--frames", "2", "--device", "cuda:0")
    assert code == 0, told
    code, told = run(parity, GRAPH, output, "--frames", "2", "--device", "cuda:3")
    assert (code, told.count("GPU 3: is not here")) == (2, 1)


def wrong(monkeypatch, node, *, seen_only_whole=False):
    """From here on TensorRT builds engines in which one product is 5 % off; seen_only_whole: unless it has to give
    inner tensors out."""
    import tensorrt

    compile_right = tensorrt.Builder.build_serialized_network
    outputs = len(onnx.load(GRAPH).graph.output)

    def compile_wrong(builder, network, config):
        if not (seen_only_whole and len(network.proto.graph.output) > outputs):
            name = next(n for n in network.proto.graph.node if n.name == node).input[1]
            weight = next(i for i in network.proto.graph.initializer if i.name == name)
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.05, name))
        return compile_right(builder, network, config)

    monkeypatch.setattr(tensorrt.Builder, "build_serialized_network", compile_wrong)


def test_an_engine_that_is_wrong_is_not_kept_and_the_one_before_stays(output, run, monkeypatch):
    assert build_engine(GRAPH, output, BuildSettings("tensorrt"), 1)
    before = output.read_bytes(), sidecar_of(output).read_bytes()
    wrong(monkeypatch, FAULTY)
    code, told = run(command, GRAPH, "-o", output, "--workspace", 64, "--proof-frames", 2)
    assert code == 1
    assert "not kept: the engine disagrees with" in told.splitlines()[-1]
    assert "vmdepth-parity --bisect" in told.splitlines()[-1]
    assert sorted(path.name for path in output.parent.iterdir()) == ["edge.engine", "edge.engine.json"]
    assert (output.read_bytes(), sidecar_of(output).read_bytes()) == before


@pytest.fixture
def wrong_engine(output, monkeypatch):
    """`wrong_engine(...)`: an engine that nobody proved, beside its graph; see `wrong`."""

    def make(**how):
        graph = output.with_name(GRAPH.name)
        graph.write_bytes(GRAPH.read_bytes())
        wrong(monkeypatch, FAULTY, **how)
        with monkeypatch.context() as patch:
            patch.setattr(proven_engine, "_prove", lambda *_: {"frames": 0})
            build_engine(graph, output, BuildSettings("tensorrt"))
        return graph, output

    return make


def test_bisect_looks_inside_an_engine(wrong_engine, run, stand_in_gpu):
    code, told = run(parity, *wrong_engine(), "--frames", 2, "--bisect")
    assert code == 1
    assert "DISAGREE" in told
    assert told.splitlines()[-1].startswith(f"first divergence at frame 0: {FAULTY} (tensor ")


def test_bisect_tells_a_fault_that_vanishes_under_the_look(wrong_engine, run):
    code, told = run(parity, *wrong_engine(seen_only_whole=True), "--frames", 2, "--bisect")
    assert code == 1
    assert "no inner tensor differs in engines that give their inner tensors out" in told.splitlines()[-1]


def test_bisect_of_an_engine_that_is_right_says_so(output, run):
    graph = output.with_name(GRAPH.name)
    graph.write_bytes(GRAPH.read_bytes())
    assert build_engine(graph, output, BuildSettings("tensorrt"), 1)
    assert first_divergence(graph, output, None, 2).endswith(
        "and against that no output of one frame differs over 2 frames"
    )


@pytest.mark.parametrize("call", ["deserialize_cuda_engine", "create_execution_context", "execute_async_v3"])
def test_an_engine_that_cannot_be_looked_into_is_one_line_and_leaves_nothing(output, stand_in_gpu, monkeypatch, call):
    import tensorrt

    def refuse(thing, *_):
        getattr(thing, "_logger", errors[-1]).log(tensorrt.ILogger.Severity.ERROR, "no room\nfor that")

    def listening(library):
        logger, kept = collecting_logger(library)
        errors.append(logger)
        return logger, kept

    errors = []
    monkeypatch.setattr(engine_probe, "collecting_logger", listening)
    assert build_engine(GRAPH, output, BuildSettings("tensorrt"), 1)
    proto, contract = read_step_graph(GRAPH)
    probe = engine_probe.EngineProbe(expand(proto), ["descriptor"], read_sidecar(output)[1])
    states = {state.name: np.zeros(state.shape, state.dtype) for state in contract.states}
    gc.collect()
    before = [stand_in_gpu.count(what) for what in ("ALLOCATED", "CONTEXTS")]
    cls = {"deserialize": tensorrt.Runtime, "create": tensorrt.ICudaEngine, "execute": tensorrt.IExecutionContext}
    monkeypatch.setattr(cls[call.partition("_")[0]], call, refuse)
    frame = np.zeros((1, 192, 272, 3), np.uint8)
    with pytest.raises(WorkError, match=r"was built to look inside does not run \(no room for that\)"):
        probe(frame, states)
    assert [stand_in_gpu.count(what) for what in ("ALLOCATED", "CONTEXTS")] == before
