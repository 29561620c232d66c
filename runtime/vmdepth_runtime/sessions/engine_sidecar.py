"""An engine and its sidecar: `model.engine` holds what TensorRT made, `model.engine.json` what it is and where it runs.

An engine is bound to the exact version of the library that built it and to the compute capability it was built for.
Loaded elsewhere it fails with a message that helps nobody, or computes something else; so the sidecar is asked first.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import file_hash
from vmdepth_runtime.sessions.gpu import Gpu, why_no_gpu

Target = Literal["tensorrt", "tensorrt-rtx"]
MODULES: dict[Target, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}

# What a graph's types ask of the GPU. Of float32: TensorRT-RTX makes none for 7.5.
_LEAST = {"float32": 8.0, "float16": 7.5, "bfloat16": 8.0, "int8": 7.5, "float8": 8.9}


@dataclass(frozen=True)
class EngineFacts:
    """What the sidecar says beside the contract.

    Attributes:
        target: the library that built it.
        version: exactly which of that library.
        capabilities: compute capabilities it holds code for.
        cuda: that of the building machine's driver; None where it had none.
        workspace: MiB allowed; None where that was left to the library.
        source: name of the ONNX file.
        onnx_hash: `file_hash` of that file.
        engine_hash: that of the engine.
        tensors: name → [dtype, *shape] of every input and output, as the library parsed them.
        tf32: whether products of float32 could be computed in TF32, as builders do unless told otherwise.
    """

    target: Target
    version: str
    capabilities: tuple[str, ...]
    cuda: str | None
    workspace: int | None
    source: str
    onnx_hash: str
    engine_hash: str
    tensors: dict[str, list[Any]] = field(default_factory=dict)
    tf32: bool = True


def sidecar_of(engine: Path) -> Path:
    """Where the sidecar of an engine lies."""
    return engine.with_name(f"{engine.name}.json")


def to_sidecar(contract: StepContract, facts: EngineFacts) -> str:
    """The sidecar's text: the contract's JSON, the facts under "engine", and the digest of both under "digest"."""
    content = {**json.loads(contract.to_json()), "engine": asdict(facts)}
    return json.dumps({**content, "digest": _digest(content)}, indent=2, sort_keys=True) + "\n"


def read_sidecar(engine: Path) -> tuple[StepContract, EngineFacts]:
    """Contract and facts of an engine. Raises InputError, naming the file, when they are missing or broken."""
    path = sidecar_of(engine)
    rebuild = f"build it again with 'vmdepth-export model.onnx -o {engine}'"
    try:
        raw = json.loads(path.read_text())
        if "digest" in raw and raw.pop("digest") != _digest(raw):  # sidecars had none before there were digests
            raise ValueError("damaged")
        facts = raw.pop("engine")
        facts = EngineFacts(**{**facts, "capabilities": tuple(facts["capabilities"])})
        if facts.target not in MODULES:
            raise ValueError(facts.target)
    except FileNotFoundError:
        if not engine.exists():
            raise InputError(f"{engine}: no such file; make it with 'vmdepth-export model.onnx -o {engine}'") from None
        raise InputError(f"{path}: the engine's sidecar is missing; {rebuild}") from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        raise InputError(f"{path}: not the sidecar of an engine, or damaged; {rebuild}") from None
    return StepContract.from_json(json.dumps(raw), str(path), rebuild), facts


def check_engine(engine: Path, facts: EngineFacts, version: str, gpu: Gpu | None, *, verify: bool = True) -> None:
    """Raise InputError, with the command that rebuilds it, unless this engine runs here.

    version: of the library `facts.target` on this machine. gpu: `find_gpu()`. verify: compare the
    engine's bytes with the digest that the sidecar has of them.
    """
    rebuild = f"build it again on this machine with 'vmdepth-export {facts.source} -o {engine} --target {facts.target}'"
    if verify and file_hash(engine) != facts.engine_hash:
        raise InputError(f"{engine}: is not the engine its sidecar describes (changed or cut off); {rebuild}")
    if version != facts.version:
        raise InputError(f"{engine}: built with {facts.target} {facts.version}, here is {version}; {rebuild}")
    if gpu is None:
        needed = ", ".join(facts.capabilities)
        raise InputError(f"{engine}: needs an NVIDIA GPU of compute capability {needed}; {why_no_gpu()}")
    if gpu.capability not in facts.capabilities:
        built = ", ".join(facts.capabilities)
        raise InputError(
            f"{engine}: built for compute capability {built}, this {gpu.name} has {gpu.capability}; {rebuild}"
        )


def least_capability(contract: StepContract) -> float:
    """The compute capability that a step graph's types ask for."""
    return max((_LEAST[dtype] for dtype in contract.precision.values()), default=_LEAST["float32"])


def load_library(target: Target) -> ModuleType:
    """`tensorrt` or `tensorrt_rtx`. Raises InputError that names the install command."""
    try:
        return importlib.import_module(MODULES[target])
    except ImportError as error:
        hint = (
            "pip install 'vmdepth[tensorrt-rtx]'"
            if target == "tensorrt-rtx"
            else "JetPack brings it (apt install python3-libnvinfer), elsewhere: pip install tensorrt"
        )
        raise InputError(f"--target {target}: {MODULES[target]} cannot be imported ({error}); {hint}") from None


def _digest(content: dict[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}"
