"""What each check sees on a stand-in for a GPU and TensorRT (`tests/stand_ins`), and what it says of planted faults."""

from __future__ import annotations

import re
import sys

import pytest

from vmdepth_export.conversion.convert import export
from vmdepth_export.conversion.settings import ExportSettings
from vmdepth_export.info.environment import environment_facts
from vmdepth_export.verify.engine_checks import graphs_on_and_off, prove
from vmdepth_export.verify.one_check import result_of
from vmdepth_export.verify.onnx_checks import cuda_parity, providers, steps
from vmdepth_export.verify.outcome import LeftOut
from vmdepth_export.verify.stream_checks import memory, whole_run
from vmdepth_runtime.depth.stream import DepthStream
from vmdepth_runtime.sessions.cuda_graph import CudaGraph
from vmdepth_runtime.sessions.cuda_memory import CudaMemory
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sessions.state_buffers import StateBuffers
from vmdepth_runtime.sessions.tensorrt import TensorrtSession


@pytest.fixture(scope="module")
def engine_file(tmp_path_factory):
    return tmp_path_factory.mktemp("engine") / "tiny.engine"


@pytest.fixture
def engine(stand_in_gpu, step_graph, engine_file):
    export(ExportSettings(step_graph, engine_file, target="tensorrt", proof_frames=5))  # once: then it is up to date
    return str(engine_file)


def proving(graph, folder, precision, frames=20):
    engine = str(folder / f"tiny.{precision}.engine")
    return {
        "graph": str(graph),
        "precision": precision,
        "engine": engine,
        "target": None,
        "frames": frames,
        "calibration": 10,
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_in_each_precision_and_proven(precision, stand_in_gpu, step_graph, tmp_path):
    seen = prove(**proving(step_graph, tmp_path, precision))
    assert not seen.wrong
    assert (seen.figures["frames"], seen.figures["precision"]) == (20, precision)
    assert seen.figures["tf32"] == (precision != "fp32")
    assert (tmp_path / f"tiny.{precision}.engine").is_file()


def test_an_engine_that_is_wrong_fails_and_is_not_there_for_what_follows(
    stand_in_gpu, step_graph, tmp_path, monkeypatch
):
    monkeypatch.setattr(CudaMemory, "upload", lambda *_: None)  # so that no frame arrives
    given = proving(step_graph, tmp_path, "fp32", frames=3)
    result = result_of(prove, given)
    assert result["status"] == "fails"
    assert "the engine disagrees with" in result["told"]
    result = result_of(graphs_on_and_off, {"engine": given["engine"], "count": 3})
    assert (result["status"], result["told"]) == ("left out", "its engine was not built")


@pytest.mark.parametrize(
    ("missing", "said"),
    [("tensorrt", "tensorrt cannot be imported"), ("cuda.bindings.driver", "pip install cuda-bindings")],
)
def test_without_a_library_engines_are_left_out_with_what_to_install(
    missing, said, stand_in_gpu, step_graph, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, missing, None)
    given = proving(step_graph, tmp_path, "fp32") | {"target": "tensorrt"}
    with pytest.raises(LeftOut, match=said):
        prove(**given)
    assert list(tmp_path.iterdir()) == []


def test_cuda_graphs_change_nothing_and_no_state_leaves_the_gpu(engine, stand_in_gpu):
    seen = graphs_on_and_off(engine, 5)
    assert not seen.wrong
    assert seen.figures["captured"] is True
    assert len(re.findall(r"p50 [\d.]+ ms, p99 [\d.]+ ms", seen.told)) == 2
    assert seen.figures["apart"] == 0
    assert seen.figures["step_ms"].keys() == {"graphs", "kernels"}
    crossed = seen.figures["bytes_per_frame"]
    assert crossed["states"] == 0
    with load_session(engine) as session:  # as the driver counts them
        before = stand_in_gpu.count(0), stand_in_gpu.count(1)
        session.step()
        assert (stand_in_gpu.count(0) - before[0], stand_in_gpu.count(1) - before[1]) == (crossed["in"], crossed["out"])


def test_a_cuda_graph_that_does_something_else_is_seen(engine, monkeypatch):
    monkeypatch.setattr(CudaGraph, "launch", lambda self: True)  # nothing at all
    assert "with CUDA graphs and without it disagrees in depth" in graphs_on_and_off(engine, 3).wrong


def test_states_that_cross_are_seen(engine, monkeypatch):
    advance = StateBuffers.advance

    def by_way_of_the_host(self, idle=()):
        advance(self, idle)
        self.read()

    monkeypatch.setattr(StateBuffers, "advance", by_way_of_the_host)
    with load_session(engine) as session:
        size = session.contract.state_bytes
    seen = graphs_on_and_off(engine, 3)
    assert seen.figures["bytes_per_frame"]["states"] == size
    assert f"{size} bytes of states a frame cross" in seen.wrong


def test_steps_are_the_same_again_after_a_reset_and_a_reset_that_forgets_one_state_is_seen(step_graph, monkeypatch):
    right = steps(str(step_graph), "cpu", 3)
    assert not right.wrong
    assert re.search(r": p50 [\d.]+ ms, p99 [\d.]+ ms$", right.told)
    monkeypatch.setattr(StateBuffers, "reset", lambda self, stream=None: None)
    assert "after a reset depth is another" in steps(str(step_graph), "cpu", 3).wrong


def test_on_cuda_a_step_graph_is_compared_with_the_cpu_and_its_states_stay_there(
    stand_in_gpu, stand_in_onnxruntime, step_graph, monkeypatch
):
    with stand_in_onnxruntime():
        seen = cuda_parity(str(step_graph), 10)
        assert not seen.wrong
        assert (seen.figures["frames"], seen.figures["depth"]) == (10, 0)
        seen = steps(str(step_graph), "cuda", 3)
        assert not seen.wrong
        assert seen.figures["bytes_per_frame"]["states"] == 0
        monkeypatch.setattr(CudaMemory, "upload", lambda *_: None)  # so that no frame arrives
        assert "CUDA and CPU disagree in" in cuda_parity(str(step_graph), 3).wrong


def test_without_onnx_runtime_its_checks_are_left_out_with_what_to_install(step_graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for check, given in ((providers, {"facts": []}), (steps, {"graph": str(step_graph), "device": "cpu", "count": 3})):
        result = result_of(check, given)
        assert result["status"] == "left out"
        assert "vmdepth[cpu]" in result["told"]


@pytest.mark.parametrize(
    ("missing", "status"),
    [("torch.nn", "left out"), ("onnx", "left out"), ("vmdepth_runtime.gone", "fails"), ("numpy.gone", "fails")],
)
def test_what_an_extra_brings_is_left_out_and_a_module_of_ours_that_is_missing_fails(missing, status):
    def check():
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    result = result_of(check, {})
    assert result["status"] == status
    assert missing.partition(".")[0] in result["told"]


def test_providers_are_judged_by_what_the_machine_is(stand_in_gpu, stand_in_onnxruntime):
    with stand_in_onnxruntime():
        assert not providers(environment_facts()).wrong
    with stand_in_onnxruntime(starts=[]):
        assert providers(environment_facts()).wrong.startswith("CUDAExecutionProvider: listed, but does not load")
    seen = providers(environment_facts())  # of a build for the CPU, beside a GPU
    assert not seen.wrong
    assert "built without CUDA" in seen.told
    with pytest.raises(LeftOut, match="see 'machine'"):
        providers([("Python", "3.12")])


def test_onnx_runtime_without_cuda_is_left_out(step_graph):
    for check, given in ((cuda_parity, {"frames": 3}), (steps, {"device": "cuda", "count": 3})):
        result = result_of(check, {"graph": str(step_graph), **given})
        assert result["status"] == "left out"
        assert "built without CUDA" in result["told"]


def test_a_whole_run_gives_all_frames(step_graph):
    seen = whole_run(str(step_graph))
    assert not seen.wrong
    assert seen.figures["frames_out"] == 150
    assert seen.figures["fps"] > 0


def test_memory_that_grows_is_seen(step_graph, engine, monkeypatch):
    monkeypatch.setattr("vmdepth_export.verify.stream_checks._SETTLED", 20)
    assert not memory(str(step_graph), 60).wrong
    on_gpu = memory(engine, 40).figures
    assert on_gpu["before"]["gpu_free_mib"] == on_gpu["after"]["gpu_free_mib"] > 0
    kept, call = [], DepthStream.__call__

    def keeping(self, image):
        kept.append(b"x" * 2**24)
        return call(self, image)

    monkeypatch.setattr(DepthStream, "__call__", keeping)
    assert "memory grew by" in memory(str(step_graph), 60).wrong


def test_memory_of_the_gpu_that_goes_is_seen(engine, monkeypatch):
    monkeypatch.setattr("vmdepth_export.verify.stream_checks._SETTLED", 5)
    step = TensorrtSession.step

    def keeping(self, *given):
        self.memory.allocate(2**22)
        return step(self, *given)

    monkeypatch.setattr(TensorrtSession, "step", keeping)
    assert "MiB of the GPU are gone" in memory(engine, 30).wrong
