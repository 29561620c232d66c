"""The providers that ONNX Runtime computes with on a GPU, and one line for what keeps them from it."""

from __future__ import annotations

import ctypes
import importlib
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from vmdepth_runtime.cache_folder import cache_folder
from vmdepth_runtime.contract import METADATA_KEY, StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import file_hash, read_metadata
from vmdepth_runtime.sessions.device import Device, Kind
from vmdepth_runtime.sessions.gpu import Gpu, wanted_gpu
from vmdepth_runtime.sessions.onnx_runtime.build import INSTEAD, two_builds

CPU = "CPUExecutionProvider"
PROVIDERS: dict[Kind, str] = {"cpu": CPU, "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
Providers: TypeAlias = list[str | tuple[str, dict[str, str]]]
"""As `onnxruntime.InferenceSession` takes them: the first that can compute a node does."""

_TENSORRT_BRINGS = "JetPack, elsewhere 'pip install tensorrt',"
_GPU_BRINGS = "pip install 'vmdepth[gpu]'"
OR_CPU = "or run on the CPU with '--device cpu'"
_FIRST_FOR_CUDA_13 = "1.27"  # of the wheels on PyPI


def usable_gpu(onnxruntime: ModuleType, device: Device) -> Gpu:
    """The GPU of a device, which this build can use as far as can be told before a session is made.

    CUDA's libraries are loaded, which also come as packages of Python. Raises InputError: what is missing.
    """
    option = f"--device {device}"
    if wrong := two_builds():
        raise InputError(f"{option}: {wrong}; {OR_CPU}")
    provider = PROVIDERS[device.kind]
    if provider not in onnxruntime.get_available_providers():
        without = "CUDA" if device.kind == "cuda" else "TensorRT"
        raise InputError(
            f"{option}: this ONNX Runtime is built without {without}; install onnxruntime-gpu in place of onnxruntime "
            f"({INSTEAD}), {OR_CPU}"
        )
    gpu = wanted_gpu(device.number)
    if reason := why_not(onnxruntime, provider, gpu):
        raise InputError(f"{option}: ONNX Runtime cannot start {provider} here: {reason}; {OR_CPU}")
    return gpu


def why_not(onnxruntime: ModuleType, provider: str, gpu: Gpu) -> str | None:
    """Why a provider that is listed does not load on a GPU, and what to do; None where nothing is known against it."""
    built_for = getattr(onnxruntime, "cuda_version", "")  # empty where the build does not tell
    if built_for and int(built_for.split(".")[0]) > int(gpu.cuda.split(".")[0]):
        older = (
            f", or pip install 'onnxruntime-gpu[cuda,cudnn]<{_FIRST_FOR_CUDA_13}'" if gpu.cuda.startswith("12.") else ""
        )
        return (
            f"the driver of {gpu.name} runs CUDA up to {gpu.cuda}, and this onnxruntime-gpu "
            f"({onnxruntime.__version__}) is built for CUDA {built_for}; update the driver{older}"
        )
    _preload(onnxruntime, provider)
    folder = Path(onnxruntime.__file__ or "").parent / "capi"
    name = provider.removesuffix("ExecutionProvider").lower()
    library = folder / f"libonnxruntime_providers_{name}.so"
    if not library.is_file():
        return None
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        if "cannot open shared object file" not in str(error):
            return str(error)
        of_tensorrt = "libnvinfer" in str(error) or "libnvonnxparser" in str(error)
        return f"{error}; {_TENSORRT_BRINGS if of_tensorrt else _GPU_BRINGS} brings it"
    return None


def gpu_providers(onnxruntime: ModuleType, device: Device, gpu: Gpu, path: Path, stream: int) -> Providers:
    """The providers of a step graph on a GPU, their options as ONNX Runtime's pages list them.

    stream: cudaStream_t of that GPU, which all of them compute on. Raises InputError for TensorRT where its engines
    cannot be kept.
    """
    where = {"device_id": str(device.number), "user_compute_stream": str(stream)}
    # TF32 has ten bits of mantissa, which do not hold what an fp32 graph promises.
    cuda = (PROVIDERS["cuda"], {**where, "has_user_compute_stream": "1", "use_tf32": "0"})
    if device.kind == "cuda":
        return [cuda, CPU]
    return [(PROVIDERS["tensorrt"], where | _tensorrt_options(onnxruntime, gpu, path)), cuda, CPU]


def _tensorrt_options(onnxruntime: ModuleType, gpu: Gpu, path: Path) -> dict[str, str]:
    """What its builder may compute in, by the graph's own types, and where its engines are kept.

    The provider knows kept engines by the graph's name and nodes, not by its weights or the version of TensorRT: so
    every file has a folder of its own for each of them.
    """
    types = set(StepContract.from_json(read_metadata(path, METADATA_KEY), str(path)).precision.values())
    try:
        library = importlib.import_module("tensorrt").__version__
    except ImportError:
        library = "system"
    which = f"{file_hash(path).partition(':')[2][:16]}-{onnxruntime.__version__}-{library}-cuda{gpu.cuda}"
    root = cache_folder("engine of ONNX Runtime") / "onnxruntime-tensorrt"
    try:
        (root / which).mkdir(parents=True, exist_ok=True)  # of two folders the provider makes one
    except OSError as error:
        raise InputError(f"{root / which}: no engine of ONNX Runtime can be kept there ({error.strerror})") from None
    halves = {"float16": "trt_fp16_enable", "bfloat16": "trt_bf16_enable", "int8": "trt_int8_enable"}
    # From Python its options take "True" and "False", those of CUDA "1" and "0".
    return {option: "True" for kind, option in halves.items() if kind in types} | {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(root / which),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(root),
    }


def _preload(onnxruntime: ModuleType, provider: str) -> None:
    if hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(StringIO()):  # it prints what it does not find, which may be nothing that is needed
            onnxruntime.preload_dlls()
    if provider == PROVIDERS["tensorrt"]:
        with suppress(ImportError):
            importlib.import_module("tensorrt")  # which loads its libraries, where they came by pip
