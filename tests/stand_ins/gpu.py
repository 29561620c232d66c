"""GPUs that are not there: NVIDIA's driver and TensorRT by stand-ins, below the real cuda-bindings and vmdepth."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from unittest import mock

HERE = Path(__file__).parent


class Count(IntEnum):
    """What the stand-in for the driver counts, see `cuda/libcuda.c`."""

    BYTES_TO_DEVICE, BYTES_TO_HOST, BYTES_WITHIN, STEPS, GRAPHS, ALLOCATED, ALLOCATIONS, CONTEXTS, PINNED = range(9)


def build_driver(folder: Path) -> Path:
    """Compile the stand-in; returns `folder`/libcuda.so.1, which LD_LIBRARY_PATH brings to other processes."""
    library = folder / "libcuda.so.1"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "needs a C compiler"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o", library, HERE / "cuda/libcuda.c"]
    subprocess.run([*command, "-ldl"], check=True)
    return library


def stand_in_everywhere(folder: Path) -> Path:
    """From here on this process and those that it starts have one GPU, and TensorRT; returns the driver."""
    library = build_driver(folder)
    ctypes.CDLL(str(library))
    os.environ["STAND_IN_GPUS"] = "1"
    for name, place in (("LD_LIBRARY_PATH", folder), ("PYTHONPATH", HERE)):
        os.environ[name] = os.pathsep.join(filter(None, [str(place), os.environ.get(name)]))
    sys.path.insert(0, str(HERE))
    return library


class StandInGpu:
    """The machine's GPUs, as far as this process is told."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self._driver = ctypes.CDLL(str(library))  # from here on libcuda.so.1 is this one, in the whole process
        self._driver.stand_in_count.restype = ctypes.c_long

    def count(self, what: Count | str) -> int:
        """How much of it there was since the process began; ALLOCATED, CONTEXTS and PINNED: how much there is."""
        return self._driver.stand_in_count(int(Count[what] if isinstance(what, str) else what))

    def fail(self, call: str, error: int, after: int = 0) -> None:
        """Let a call of the driver, "cuMemAlloc", fail once with a CUresult, after so many that work."""
        self._driver.stand_in_fail(call.encode(), after, error)


@contextmanager
def standing_in(library: Path, **settings: str) -> Iterator[StandInGpu]:
    """While it lasts this process has GPUs and TensorRT; settings: `cuda/libcuda.c` lists them, as `gpus="2"`."""
    environment = {"STAND_IN_GPUS": "1"} | {f"STAND_IN_{name.upper()}": value for name, value in settings.items()}
    gpu = StandInGpu(library)
    try:
        with mock.patch.dict("os.environ", environment), mock.patch.object(sys, "path", [str(HERE), *sys.path]):
            _forget_tensorrt()
            yield gpu
    finally:
        _forget_tensorrt()
        gpu._driver.stand_in_new_process()
        gpu._driver.cuInit(0)  # which finds none in the environment as it was


def _forget_tensorrt() -> None:
    """The next import is from the path as it is then, and knows nothing of what a test made of the one before."""
    for name in ("tensorrt", *(f"tensorrt.{path.stem}" for path in (HERE / "tensorrt").glob("*.py"))):
        sys.modules.pop(name, None)
