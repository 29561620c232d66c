"""One line for every build of ONNX Runtime that does not run here; on stand-ins, where it takes a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import ModuleType

import pytest

from vmdepth_runtime import DepthStream, RunSettings, bundled, run
from vmdepth_runtime.errors import NO_ONNXRUNTIME, InputError, WorkError
from vmdepth_runtime.sessions import onnx
from vmdepth_runtime.sessions.load import load_session
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sessions.onnx_runtime import build
from vmdepth_runtime.sources.settings import ReadSettings


@pytest.fixture
def two_installed(monkeypatch):
    builds = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(build, "installed_builds", lambda: builds)


def held(gpu):
    return [gpu.count(what) for what in ("ALLOCATED", "CONTEXTS", "PINNED")]


def refused(device=None):
    """What is said of a step graph on a device."""
    with pytest.raises(InputError) as told:
        load_session(bundled.MODEL, device=device)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_without_any_build(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError) as told:
        DepthStream()
    assert str(told.value) == NO_ONNXRUNTIME


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("vmdepth_runtime.pipeline", ["demo", "-o", "depth.npz"]),
        ("vmdepth_export.parity", [bundled.MODEL, bundled.MODEL]),
        ("vmdepth_calibrate", [bundled.MODEL, "--data", "demo", "-o", "int8.onnx"]),
    ],
)
def test_commands_without_any_build(module, arguments, tmp_path):
    code = f"import sys; sys.modules['onnxruntime'] = None; from {module}.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f": {NO_ONNXRUNTIME}")
    assert list(tmp_path.iterdir()) == []


def test_remains_of_a_build(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    assert "ONNX Runtime is there in part; pip uninstall -y onnxruntime onnxruntime-gpu" in refused("cpu")


def test_a_cpu_build_that_is_asked_for_a_gpu(stand_in_gpu):
    for device, without in (("cuda", "CUDA"), ("tensorrt", "TensorRT")):
        line = refused(device)
        assert f"--device {device}: this ONNX Runtime is built without {without}" in line
        assert "pip install 'vmdepth[gpu]'" in line
        assert "--device cpu" in line
    with load_session(bundled.MODEL) as session:  # which nobody asked for it
        assert "CPU" in session.runs_on


def test_both_builds_where_a_gpu_would_be_used(two_installed, standing_in, stand_in_onnxruntime):
    with standing_in(), stand_in_onnxruntime():
        for device in ("cuda", None):
            line = refused(device)
            assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are both installed" in line
            assert "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'vmdepth[gpu]'" in line
        load_session(bundled.MODEL, device="cpu").close()
    with standing_in(gpus="0"):
        load_session(bundled.MODEL).close()


def test_both_builds_are_told_where_nothing_takes_a_gpu(two_installed, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(onnx, "find_gpu", lambda: None)
    run(RunSettings(("demo",), (str(tmp_path / "d.npz"),), read=ReadSettings(frames=1)))
    told = capfd.readouterr().err
    assert told.count("warning: onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are both installed, and write") == 1
    run(RunSettings(("demo",), (str(tmp_path / "e.npz"),), device="cpu", read=ReadSettings(frames=1)))
    assert "both installed" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("driver", "remedy"),
    [
        ("12080", "update the driver, or pip install 'onnxruntime-gpu[cuda,cudnn]<1.27'; or run on the CPU"),
        ("11040", "update the driver; or run on the CPU"),
    ],
)
def test_a_driver_that_is_too_old_for_the_build(driver, remedy, standing_in, stand_in_onnxruntime):
    with standing_in(cuda=driver), stand_in_onnxruntime(cuda="13.0"):
        line = refused("cuda")
    assert "Stand-in 0 runs CUDA up to 1" in line
    assert "is built for CUDA 13.0" in line
    assert remedy in line


@pytest.mark.parametrize("device", ["cuda:3", "tensorrt:3"])
def test_a_gpu_that_is_not_there(device, standing_in, stand_in_onnxruntime):
    with standing_in(gpus="2"), stand_in_onnxruntime():
        assert refused(device) == "GPU 3: is not here; there are 0 (Stand-in 0), 1 (Stand-in 1)"


def test_a_provider_that_does_not_start(standing_in, stand_in_onnxruntime):
    with standing_in() as gpu, stand_in_onnxruntime(starts=["CUDAExecutionProvider"]):
        before = held(gpu)
        assert "cannot start TensorrtExecutionProvider here ('vmdepth-info' says why)" in refused("tensorrt")
        assert held(gpu) == before


def test_of_the_severity_of_the_process_only_a_session_on_a_gpu_makes_use(stand_in_gpu, stand_in_onnxruntime):
    with stand_in_onnxruntime() as onnxruntime:
        onnxruntime.set_default_logger_severity = (asked := []).append
        for device, severities in (("cpu", []), ("cuda", [4, 2])):
            with OnnxSession(bundled.MODEL, threads=1, device=device) as session:
                assert asked == severities
                quietly = session._session.get_session_options().log_severity_level
        assert quietly == 4


@pytest.mark.skipif(sys.platform != "linux", reason="has no libraries of ELF")
@pytest.mark.parametrize(
    ("device", "library", "remedy"),
    [
        ("cuda", "libcublasLt.so.13", "; pip install 'vmdepth[gpu]' brings it; or run on the CPU with '--device cpu'"),
        ("tensorrt", "libnvinfer.so.10", "; JetPack, elsewhere 'pip install tensorrt', brings it; or run on the CPU"),
    ],
)
def test_libraries_that_a_provider_lacks(device, library, remedy, standing_in, stand_in_onnxruntime, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    capi = tmp_path / "capi"
    capi.mkdir()
    build = [compiler, "-shared", "-x", "c", "/dev/null", f"-L{tmp_path}", "-Wl,--no-as-needed", "-o"]
    subprocess.run([*build, tmp_path / library, f"-Wl,-soname,{library}"], check=True)
    subprocess.run([*build, capi / "libonnxruntime_providers_shared.so"], check=True)
    subprocess.run([*build, capi / f"libonnxruntime_providers_{device}.so", f"-l:{library}"], check=True)
    with standing_in(), stand_in_onnxruntime() as onnxruntime:
        onnxruntime.__file__ = str(tmp_path / "__init__.py")
        line = refused(device)
    provider = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[device]
    assert f"--device {device}: ONNX Runtime cannot start {provider} here: {library}: cannot open shared" in line
    assert remedy in line


def test_what_fails_on_the_gpu_is_told_in_one_line(standing_in, stand_in_onnxruntime):
    with standing_in() as gpu, stand_in_onnxruntime() as onnxruntime:
        before = held(gpu)
        with OnnxSession(bundled.MODEL, device="cuda") as session:
            onnxruntime.fails.append("[ONNXRuntimeError] : 1 : FAIL : x.cc CUDA failure 2: out of memory ; GPU=0\nmore")
            with pytest.raises(
                WorkError, match=r"edge\.onnx: ONNX Runtime failed on cuda: CUDA failure 2: out of memory$"
            ):
                session.step()
        gpu.fail("cuMemAlloc", 2, after=1)  # the first is of ONNX Runtime itself
        with pytest.raises(WorkError, match=r"edge\.onnx: the GPU cannot give another 1 MiB: CUDA_ERROR_OUT_OF_MEMORY"):
            OnnxSession(bundled.MODEL, device="cuda")
        assert held(gpu) == before
