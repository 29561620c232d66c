"""What this machine can run."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vmdepth_export.info.facts import Facts
from vmdepth_runtime.errors import InputError

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
_L4T = Path("/etc/nv_tegra_release")
_JETPACKS = {"36.3": "6.0", "36.4": "6.1 or 6.2", "38.2": "7.0", "38.4": "7.1"}  # Linux for Tegra → JetPack


def environment_facts() -> Facts:
    """Name and value of everything here that decides what runs."""
    from vmdepth_runtime.sessions.gpu import find_gpu

    gpu = find_gpu()
    facts = [("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    if jetpack := find_jetpack():
        facts.append(("JetPack", jetpack))
    facts += [(package, _installed(package)) for package in _PACKAGES]
    facts += provider_facts()
    facts.append(("GPU", f"{gpu.name}, compute capability {gpu.capability}" if gpu else "no NVIDIA GPU or no driver"))
    if gpu:
        facts.append(("CUDA driver", f"up to CUDA {gpu.cuda}"))
    return facts + _tensorrt(gpu.capability if gpu else None)


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


def provider_facts() -> Facts:
    """ONNX Runtime, and which of its providers really load: a listed one may lack its libraries."""
    import onnxruntime

    from vmdepth_runtime import bundled

    facts = [("ONNX Runtime", onnxruntime.__version__)]
    for provider in onnxruntime.get_available_providers():
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(str(bundled.MODEL), options, providers=[provider])
            works = provider in session.get_providers()
        except Exception:  # its exception classes share no base but Exception
            works = False
        facts.append(("", f"{provider}: {'loads' if works else 'listed, but does not load'}"))
    return facts


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
