"""A step graph or an engine, whichever a file is, ready to step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth_runtime.sessions.onnx import Device, OnnxSession, default_device

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.tensorrt import TensorrtSession

    ModelSession = OnnxSession | TensorrtSession

MODEL_ENDINGS = (".onnx", ".engine")


def load_session(
    path: str | Path, threads: int | None = None, device: Device | None = None, *, verify: bool = True
) -> ModelSession:
    """By its ending: `.engine` on TensorRT, all else on ONNX Runtime.

    threads: for one step on the CPU; None takes all cores. device: of ONNX Runtime; None takes CUDA where it can.
    verify: compare the file with its digest first.
    Raises InputError, naming the file, when it cannot run here.
    """
    if Path(path).suffix == ".engine":
        from vmdepth_runtime.sessions.tensorrt import TensorrtSession

        return TensorrtSession(path, verify=verify)
    return OnnxSession(path, threads=threads, device=device or default_device(), verify=verify)
