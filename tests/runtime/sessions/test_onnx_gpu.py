"""A step graph on a GPU by ONNX Runtime, on a stand-in for its GPU build and for the GPU (`tests/stand_ins`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.pipeline.run import run
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.sessions import onnx
from vmdepth_runtime.sessions.cuda_memory import CudaMemory
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sources.settings import ReadSettings


@pytest.fixture
def gpus(standing_in, stand_in_onnxruntime, monkeypatch, tmp_path):
    """Two GPUs, and a build of ONNX Runtime that uses them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with standing_in(gpus="2") as gpu, stand_in_onnxruntime() as onnxruntime:
        gpu.onnxruntime = onnxruntime
        yield gpu


def held(gpu):
    return [gpu.count(what) for what in ("ALLOCATED", "CONTEXTS", "PINNED")]


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt", "tensorrt:1"], ids="on {}".format)
def test_a_step_graph_gives_on_a_gpu_what_it_gives_on_the_cpu_states_included(
    gpus, device, remembering_graph, assert_steps_as_its_graph
):
    before = held(gpus)
    with OnnxSession(remembering_graph, device=device) as session:
        assert_steps_as_its_graph(session)
    del session
    assert held(gpus) == before


def test_the_bundled_model_on_a_gpu(gpus):
    with OnnxSession(bundled.MODEL, threads=1) as cpu, OnnxSession(bundled.MODEL, threads=1, device="cuda") as gpu:
        for frame in np.random.default_rng(0).integers(0, 256, (3, *cpu.frame.shape), np.uint8):
            for session in (cpu, gpu):
                session.frame[...] = frame
            np.testing.assert_array_equal(gpu.step()["depth"], cpu.step()["depth"])
            np.testing.assert_equal(gpu.states(), cpu.states())


def test_nothing_of_the_states_crosses_the_bus(gpus):
    with OnnxSession(bundled.MODEL, device="cuda") as session:
        session.step()
        directions = ("BYTES_TO_DEVICE", "BYTES_TO_HOST")
        before = [gpus.count(what) for what in directions]
        outputs = session.step()
        to_device, to_host = (gpus.count(what) - count for what, count in zip(directions, before, strict=True))
        assert to_device == session.frame.nbytes
        assert to_host == sum(array.nbytes for array in outputs.values())


def test_saved_states_are_there_before_they_are_bound(gpus, remembering_graph):
    with OnnxSession(remembering_graph, device="cuda") as session:
        session.step()
        within, saved = gpus.count("BYTES_WITHIN"), session.snapshot()
        session.save(0, saved)
        assert gpus.count("BYTES_WITHIN") == within
        session.restore(0, saved)
        assert gpus.count("BYTES_WITHIN") > within


def bound_on_the_host(monkeypatch, gpus):
    """As on the CPU, where a binding reads what lies there when it runs; on a GPU it is copied when it is bound."""
    prepare = OnnxSession._prepare

    def once(self, session):
        prepare(self, session)
        if self._device.kind == "cuda":
            for binding in self._bindings:
                binding.bind_input("frame", "cpu", 0, np.uint8, self.frame.shape, self.frame.ctypes.data)
            self._bind_inputs = lambda binding, turn: None

    monkeypatch.setattr(OnnxSession, "_prepare", once)


def on_another_stream(monkeypatch, gpus):
    monkeypatch.setattr(gpus.onnxruntime.InferenceSession, "stream", property(lambda self: 0), raising=False)


def one_turn_for_both(monkeypatch, gpus):
    bind = OnnxSession._bind_inputs

    def first(self, binding, turn):
        bind(self, binding, 0 if self._device.kind == "cuda" else turn)

    monkeypatch.setattr(OnnxSession, "_bind_inputs", first)


def read_before_the_wait(monkeypatch, gpus):
    monkeypatch.setattr(CudaMemory, "wait", lambda self: None)


@pytest.mark.parametrize("fault", [bound_on_the_host, on_another_stream, one_turn_for_both, read_before_the_wait])
def test_a_fault_in_the_order_of_things_would_show(
    gpus, fault, remembering_graph, assert_steps_as_its_graph, monkeypatch
):
    fault(monkeypatch, gpus)
    with (
        OnnxSession(remembering_graph, device="cuda") as session,
        pytest.raises(AssertionError, match="Arrays are not equal"),
    ):
        assert_steps_as_its_graph(session)


def test_options_of_the_providers(gpus, build_graph, tmp_path):
    path = build_graph()
    with OnnxSession(path, device="tensorrt:1") as session:
        stream = str(session.memory.stream)
    options = gpus.onnxruntime.options[-1]
    assert list(options) == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    where = {"device_id": "1", "user_compute_stream": stream}
    assert options["CUDAExecutionProvider"] == {
        **where,
        "has_user_compute_stream": "1",
        "use_tf32": "0",  # exact products of float32
    }
    tensorrt = options["TensorrtExecutionProvider"]
    assert where.items() <= tensorrt.items()
    assert "trt_fp16_enable" not in tensorrt
    assert tensorrt["trt_engine_cache_path"].startswith(f"{tmp_path}/cache/vmdepth/onnxruntime-tensorrt/")
    assert Path(tensorrt["trt_engine_cache_path"]).is_dir()


def test_types_and_weights_of_a_graph_decide_how_tensorrt_builds_and_where_that_is_kept(gpus, build_graph):
    kept = []
    for name, dtype in (("one", "float32"), ("two", "float16")):
        with OnnxSession(build_graph(precision={"encoder": dtype}), device="tensorrt"):
            options = gpus.onnxruntime.options[-1]["TensorrtExecutionProvider"]
        assert options.get("trt_fp16_enable") == (None if name == "one" else "True")
        kept.append(options["trt_engine_cache_path"])
    assert len(set(kept)) == 2


@pytest.mark.parametrize("folder", ["cuda", "tensorrt", "providers", "memory"], ids="in {}".format)
def test_a_file_that_is_no_graph_is_not_the_device_s_fault_whatever_its_name(gpus, folder, tmp_path, leaves_nothing):
    path = tmp_path / folder / f"{folder}.onnx"
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with leaves_nothing():
        with pytest.raises(InputError) as refused:
            OnnxSession(path, device="cuda")
        assert str(refused.value).startswith(f"{path}: not an ONNX file, or broken off; ")
        del refused


@pytest.mark.parametrize("place", ["_checked_shapes", "StateBuffers"])
def test_what_fails_while_a_session_is_made_takes_all_of_it_off_the_gpu(gpus, leaves_nothing, monkeypatch, place):
    def refuse(*_):
        raise InputError("not this one")

    monkeypatch.setattr(onnx, place, refuse)
    with leaves_nothing():
        with pytest.raises(InputError, match="not this one") as refused:
            OnnxSession(bundled.MODEL, device="cuda")
        del refused


def test_of_what_is_no_step_graph_no_folder_is_made(gpus, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"^\S+x\.onnx: "):
        OnnxSession(tmp_path / "x.onnx", device="tensorrt")
    assert not list(tmp_path.rglob("onnxruntime-tensorrt"))


def test_a_run_on_the_second_gpu(gpus, tmp_path):
    report = run(RunSettings(("demo",), (str(tmp_path / "d.npz"),), device="cuda:1", read=ReadSettings(frames=3)))
    assert report["backend"] == "onnxruntime, CUDA"
    assert report["sources"][0]["frames_out"] == 3


def test_a_gpu_is_taken_where_there_is_one(gpus):
    with load_session(bundled.MODEL) as session:
        assert session.runs_on == "ONNX Runtime on Stand-in 0"
