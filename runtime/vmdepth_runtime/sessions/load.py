"""A step graph or an engine, whichever a file is, ready to step."""

from __future__ import annotations

from pathlib import Path

from vmdepth_runtime.sessions.base import Device, StepSession
from vmdepth_runtime.sessions.onnx import OnnxSession, default_device
from vmdepth_runtime.sessions.tensorrt import TensorrtSession

MODEL_ENDINGS = (".onnx", ".engine")


def load_session(
    path: str | Path,
    threads: int | None = None,
    device: Device | None = None,
    *,
    spin: bool = False,
    verify: bool = True,
) -> StepSession:
    """By its ending: `.engine` on TensorRT, all else on ONNX Runtime.

    threads: for one step on the CPU; None takes all cores. device: of ONNX Runtime; None takes CUDA where it can.
    spin: whether threads of ONNX Runtime that wait for work keep their cores busy. verify: compare the file with its
    digest first.
    Raises InputError, naming the file, when it cannot run here.
    """
    if Path(path).suffix == ".engine":
        return TensorrtSession(path, verify=verify)
    return OnnxSession(path, threads=threads, device=device or default_device(), spin=spin, verify=verify)
