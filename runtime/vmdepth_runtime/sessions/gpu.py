"""The NVIDIA GPUs of this machine, asked through the driver alone, and why there are none."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from vmdepth_runtime.errors import InputError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of the CUDA driver API
_DEV = Path("/dev")
# Those that CUDA opens, on a Jetson from "nvmap" on. Beside them lie others, for profilers and debuggers, which users
# may not open and need not.
_NODES = (
    *("nvidia[0-9]*", "nvidiactl", "nvidia-uvm"),
    *("nvmap", "nvhost-gpu", "nvhost-ctrl-gpu", "nvhost-as-gpu"),
    *("nvgpu/igpu0/ctrl", "nvgpu/igpu0/as", "nvgpu/igpu0/channel"),
)


@dataclass(frozen=True)
class Gpu:
    """name: as the driver gives it. capability: compute capability, "8.7". cuda: newest version the driver runs.
    number: from 0, as in `cuda:0`. memory: bytes, all of it."""

    name: str
    capability: str
    cuda: str
    number: int = 0
    memory: int = 0


def find_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that this process may use, by number; none where there is none or no driver for it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count, version = ctypes.c_int(), ctypes.c_int()
    steps = (
        lambda: driver.cuInit(0),
        lambda: driver.cuDeviceGetCount(ctypes.byref(count)),
        lambda: driver.cuDriverGetVersion(ctypes.byref(version)),
    )
    if any(step() != 0 for step in steps):  # 0 is CUDA_SUCCESS
        return ()
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    found = [_gpu(driver, number, cuda) for number in range(count.value)]
    return tuple(gpu for gpu in found if gpu is not None)


def find_gpu(number: int = 0) -> Gpu | None:
    """One of them; None where there is none of that number."""
    return next((gpu for gpu in find_gpus() if gpu.number == number), None)


def wanted_gpu(number: int = 0) -> Gpu:
    """One of them. Raises InputError where there is none of that number, with the reason as far as it can be known."""
    gpus = find_gpus()
    for gpu in gpus:
        if gpu.number == number:
            return gpu
    if not gpus:
        raise InputError(f"GPU {number}: {why_no_gpu()}")
    told = ", ".join(f"{gpu.number} ({gpu.name})" for gpu in gpus)
    raise InputError(f"GPU {number}: is not here; there {'is' if len(gpus) == 1 else 'are'} {told}")


def why_no_gpu() -> str:
    """Why `find_gpus` finds none, and what to do about it."""
    closed = [
        node for pattern in _NODES for node in sorted(_DEV.glob(pattern)) if not os.access(node, os.R_OK | os.W_OK)
    ]
    if closed:
        return (
            f"no permission to use {closed[0]}; add yourself to its group (sudo usermod -aG video,render $USER) and "
            "log in again, or start the container with the GPU (--gpus all, on a Jetson --runtime nvidia)"
        )
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "NVIDIA's driver is not installed (no libcuda.so.1), or not visible in this container"
    error, name = driver.cuInit(0), ctypes.c_char_p()
    driver.cuGetErrorName(error, ctypes.byref(name))
    return f"NVIDIA's driver finds none ({(name.value or b'').decode() or error}); 'nvidia-smi' says more"


def _gpu(driver: ctypes.CDLL, number: int, cuda: str) -> Gpu | None:
    device, major, minor, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(100)
    steps = (
        lambda: driver.cuDeviceGet(ctypes.byref(device), number),
        lambda: driver.cuDeviceGetName(name, len(name), device),
        lambda: driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        lambda: driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
        lambda: driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device),
    )
    if any(step() != 0 for step in steps):
        return None
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", cuda, number, memory.value)
