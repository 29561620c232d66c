"""A step graph or an engine, whichever a file is, ready to step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.onnx import OnnxSession, default_device
from vmdepth_runtime.sessions.tensorrt import TensorrtSession

MODEL_ENDINGS = (".onnx", ".engine")


def load_session(
    path: str | Path,
    threads: int | None = None,
    device: str | None = None,
    *,
    spin: bool = False,
    verify: bool = True,
) -> StepSession:
    """By its ending: `.engine` on TensorRT, all else on ONNX Runtime.

    threads: for one step on the CPU; None takes all cores. device: as `Device.named` reads it, an engine takes "cuda"
    and "cuda:N" alone; None takes the first GPU where it can. spin: whether threads of ONNX Runtime that wait for work
    keep their cores busy. verify: compare the file with its digest first.
    Raises InputError, naming the file, when it cannot run here.
    """
    if Path(path).suffix != ".engine":
        return OnnxSession(path, threads=threads, device=device or default_device(), spin=spin, verify=verify)
    chosen = Device.named(device or "cuda")
    if chosen.kind != "cuda":
        raise InputError(
            f"--device {device}: {path} is an engine, which runs on a GPU: --device cuda, or cuda:1 and so on"
        )
    return TensorrtSession(path, gpu=chosen.number, verify=verify)


def check_device(device: str | None, models: Iterable[Path]) -> None:
    """Raise InputError for a device that is none, and for one where no model is a graph or an engine: PyTorch steps on
    the CPU. None is as good as no device."""
    if device is None:
        return
    Device.named(device)
    paths = list(models)
    if all(path.suffix not in MODEL_ENDINGS for path in paths):
        raise InputError(f"--device {device}: is for step graphs and engines; {paths[0]} is neither, leave it out")
