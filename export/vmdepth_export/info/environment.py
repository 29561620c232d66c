"""What this machine can run."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from vmdepth_export.info.facts import Facts
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.gpu import Gpu

_PACKAGES = (
    "vmdepth",
    "numpy",
    "opencv-python-headless",
    "av",
    "onnx",
    "torch",
    "huggingface_hub",
    "mamba-ssm",
    "cuda-bindings",
)
# A graph of one node with which a provider is tried: TensorRT's builds a whole engine as a session begins. Held as it
# is, since onnx may not be here. With its helper, and i and o as make_tensor_value_info(name, TensorProto.FLOAT, [1]):
# make_model(make_graph([make_node("Relu", ["i"], ["o"])], "g", [i], [o]), opset_imports=[make_opsetid("", 17)],
# ir_version=8).SerializeToString().
_PROBE = (
    b'\x08\x08:3\n\x0c\n\x01i\x12\x01o"\x04Relu\x12\x01g'
    b"Z\x0f\n\x01i\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f\n\x01o\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"B\x04\n\x00\x10\x11"
)
_L4T = Path("/etc/nv_tegra_release")
_JETPACKS = {"36.3": "6.0", "36.4": "6.1 or 6.2", "38.2": "7.0", "38.4": "7.1"}  # Linux for Tegra → JetPack


def environment_facts() -> Facts:
    """Name and value of everything here that decides what runs."""
    from vmdepth_runtime.sessions.gpu import find_gpus

    gpus = find_gpus()
    facts = [("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    if jetpack := find_jetpack():
        facts.append(("JetPack", jetpack))
    facts += [(package, _installed(package)) for package in _PACKAGES]
    facts += provider_facts(gpus) + _graphics(gpus)
    return facts + _tensorrt(gpus[0].capability if gpus else None)


def find_jetpack() -> str | None:
    """Release of Linux for Tegra and the JetPack that brings it; None on other machines."""
    if not _L4T.is_file():
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*(\d+)(\.\d+)?", _L4T.read_text())
    if not found:
        return "unknown release"
    release = f"{found[1]}.{found[2]}"
    return f"{_JETPACKS.get(release, 'unknown')} (Linux for Tegra {release}{found[3] or ''})"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _graphics(gpus: Sequence[Gpu]) -> Facts:
    """The GPUs, or why there are none."""
    from vmdepth_runtime.sessions.gpu import why_no_gpu

    if not gpus:
        return [("GPU", f"none that can be used: {why_no_gpu()}")]
    facts = [
        ("" if gpu.number else "GPU", f"{gpu.name}, compute capability {gpu.capability}, {gpu.memory >> 20:,} MiB")
        for gpu in gpus
    ]
    if len(gpus) > 1:
        facts = [(name, f"{gpu.number}: {told}") for gpu, (name, told) in zip(gpus, facts, strict=True)]
    return [*facts, ("CUDA driver", f"up to CUDA {gpus[0].cuda}")]


def provider_facts(gpus: Sequence[Gpu]) -> Facts:
    """ONNX Runtime, which of its providers really load, as a listed one may lack its libraries, and what is taken."""
    from vmdepth_runtime.sessions.onnx import default_device
    from vmdepth_runtime.sessions.onnx_runtime.build import installed_builds, load_onnxruntime, two_builds

    try:
        onnxruntime = load_onnxruntime()
    except InputError as error:
        return [("ONNX Runtime", str(error))]
    cuda = getattr(onnxruntime, "cuda_version", "")
    told = ", ".join(installed_builds()) + (f", for CUDA {cuda}" if cuda else "")
    facts = [("ONNX Runtime", f"{onnxruntime.__version__} ({told})")]
    for provider in onnxruntime.get_available_providers():
        trouble = _trouble(onnxruntime, provider, gpus)
        facts.append(("", f"{provider}: {f'listed, but does not load ({trouble})' if trouble else 'loads'}"))
    if wrong := two_builds():
        return [*facts, ("", wrong)]
    return [*facts, ("", f"step graphs run on {default_device()} unless --device says otherwise")]


def _trouble(onnxruntime: ModuleType, provider: str, gpus: Sequence[Gpu]) -> str | None:
    """Why a provider does not load; None where it does, which is tried with a session of one node."""
    from vmdepth_runtime.sessions.onnx_runtime.build import quiet
    from vmdepth_runtime.sessions.onnx_runtime.providers import PROVIDERS, why_not

    if provider in (PROVIDERS["cuda"], PROVIDERS["tensorrt"]):
        reason = why_not(onnxruntime, provider, gpus[0]) if gpus else "no GPU"
        if reason:
            return reason
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        with quiet(onnxruntime):
            session = onnxruntime.InferenceSession(_PROBE, options, providers=[provider], enable_fallback=0)
    except Exception as error:  # its exception classes share no base but Exception
        return " ".join(str(error).split())[:200]
    return None if provider in session.get_providers() else "it gives no reason"


def _tensorrt(capability: str | None) -> Facts:
    from vmdepth_runtime.sessions.engine_sidecar import load_library
    from vmdepth_runtime.sessions.known_faults import known_bad

    facts = []
    for target, name in (("tensorrt", "TensorRT"), ("tensorrt-rtx", "TensorRT-RTX")):
        try:
            found = load_library(target).__version__  # type: ignore[arg-type]  # mypy widens the literals of a tuple
        except InputError:
            facts.append((name, "not installed"))
            continue
        bad = known_bad(target, found, capability)
        facts.append((name, f"{found}; {bad}" if bad else found))
    return facts
