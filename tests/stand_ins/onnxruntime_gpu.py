"""A stand-in for ONNX Runtime's GPU build, as far as vmdepth uses it: what it computes, the real CPU provider does.

It lives on the stand-in for the CUDA driver: a run is put on the stream that the provider was given, reads and writes
device memory by the addresses that were bound, and is waited for, as ONNX Runtime does by itself. It is strict where
the real one is, as its sources and its 1.31 wheel tell:
- an option that a provider does not know, and a GPU that is not there, is refused;
- an input that is bound on the CPU is copied to the device when it is *bound*, and never again;
- a session on a GPU has memory there, which it gives back in the context that is the thread's, and so while that is;
- a provider that cannot start is left out without a word (`starts`).
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as real

_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
# What their parsers take from Python, of the options that are of use here (tried on those of 1.31.1).
_NUMBER, _BIT, _BOOL, _PATH = r"\d+", "[01]", "True|False", ".+"
OPTIONS = {
    _CUDA: {"device_id": _NUMBER, "user_compute_stream": _NUMBER, "has_user_compute_stream": _BIT, "use_tf32": _BIT},
    _TENSORRT: {"device_id": _NUMBER, "user_compute_stream": _NUMBER}
    | dict.fromkeys(("trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable"), _BOOL)
    | dict.fromkeys(("trt_engine_cache_enable", "trt_timing_cache_enable"), _BOOL)
    | dict.fromkeys(("trt_engine_cache_path", "trt_timing_cache_path"), _PATH),
}


def _driver() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    driver.stand_in_host.restype = ctypes.c_void_p
    driver.stand_in_host.argtypes = driver.stand_in_device_of.argtypes = [ctypes.c_uint64]
    driver.cuMemFree_v2.argtypes = [ctypes.c_uint64]
    driver.stand_in_stream_device.argtypes = driver.cuStreamSynchronize.argtypes = [ctypes.c_void_p]
    return driver


class _Memory:
    """Of a session. Raises RuntimeError where that cannot be had."""

    def __init__(self) -> None:
        self._address = ctypes.c_uint64()
        if _driver().cuMemAlloc_v2(ctypes.byref(self._address), ctypes.c_size_t(1000)):
            raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")

    def __del__(self) -> None:
        if self._address.value:
            _driver().cuMemFree_v2(self._address)  # which fails, and loses it, where no context is current


class IOBinding:
    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self.inputs: dict[str, np.ndarray | tuple[tuple[int, ...], Any, int]] = {}
        self.outputs: dict[str, tuple[tuple[int, ...], Any, int]] = {}

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        place = tuple(shape), np.dtype(element_type), buffer_ptr
        if device_type == "cpu":
            self.inputs[name] = _array(*place).copy()
        else:
            self.inputs[name] = self._session.on_device(device_type, device_id, place)

    def bind_output(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        assert device_type != "cpu", "of outputs in host memory the stand-in knows nothing"
        self.outputs[name] = self._session.on_device(
            device_type, device_id, (tuple(shape), np.dtype(element_type), buffer_ptr)
        )


class InferenceSession:
    """Of one module `onnxruntime`, which says what starts: see `stand_in`."""

    module: ModuleType

    def __init__(self, path: str, options: Any, providers: Sequence[Any], **more: Any) -> None:
        kept = [entry if isinstance(entry, tuple) else (entry, {}) for entry in providers]
        for name, given in kept:
            for option, value in given.items():
                if not re.fullmatch(OPTIONS.get(name, {}).get(option, "(?!)"), value):
                    raise RuntimeError(f'Unknown provider option: "{option}", or not of value "{value}".')
        kept = [(name, given) for name, given in kept if name not in OPTIONS or name in self.module.starts]
        self.options = dict(kept) | {"CPUExecutionProvider": {}}  # which is always there, the last one
        self._providers = list(self.options)
        # One that is given no stream opens the GPU by itself, and lets go of it likewise.
        self._memory = _Memory() if self.stream else None
        self._session = real.InferenceSession(path, options, providers=["CPUExecutionProvider"], **more)
        self._device = int(self.options[self._providers[0]].get("device_id", 0))
        if self.stream and _driver().stand_in_stream_device(self.stream) != self._device:
            raise RuntimeError("CUDA failure 400: invalid resource handle ; GPU=0")
        self.module.options.append(self.options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)  # what a file says of itself

    @property
    def stream(self) -> int:
        """That was given; 0 where none was."""
        return int(self.options[self._providers[0]].get("user_compute_stream", 0))

    def get_providers(self) -> list[str]:
        return self._providers

    def io_binding(self) -> Any:
        return IOBinding(self) if self._providers[0] in OPTIONS else self._session.io_binding()

    def on_device(self, kind: str, number: int, place: tuple[Any, Any, int]) -> tuple[Any, Any, int]:
        if (kind, number) != ("cuda", self._device) or _driver().stand_in_device_of(place[2]) != self._device:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0")
        return place

    def run_with_iobinding(self, binding: Any, run_options: Any = None) -> None:
        if not isinstance(binding, IOBinding):
            self._session.run_with_iobinding(binding, run_options)
            return
        if self.module.fails:
            raise RuntimeError(self.module.fails.pop())
        driver = _driver()
        kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: self._compute(driver, binding))
        stream = ctypes.c_void_p(self.stream)
        if self.stream:
            if driver.cuLaunchHostFunc(stream, kernel, None) or driver.cuStreamSynchronize(stream):
                raise RuntimeError("CUDA failure 1: invalid argument ; GPU=0")
        else:
            self._compute(driver, binding)  # on a stream of its own, which waits for no other

    def _compute(self, driver: ctypes.CDLL, binding: IOBinding) -> None:
        feeds = {
            name: place if isinstance(place, np.ndarray) else _array(*place[:2], driver.stand_in_host(place[2])).copy()
            for name, place in binding.inputs.items()
        }
        names = list(binding.outputs)
        for name, array in zip(names, self._session.run(names, feeds), strict=True):
            shape, dtype, address = binding.outputs[name]
            _array(shape, dtype, driver.stand_in_host(address))[...] = array


def _array(shape: tuple[int, ...], dtype: np.dtype, address: int) -> np.ndarray:
    size = prod(shape) * dtype.itemsize
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)


@contextmanager
def stand_in(cuda: str = "12.8", starts: Sequence[str] = (_CUDA, _TENSORRT)) -> Iterator[ModuleType]:
    """While it lasts `import onnxruntime` gives a GPU build. cuda: that it is built for. starts: providers that can.

    The module has `options`, those of the sessions that were made, and `fails`: reasons for which the next runs fail.
    """
    module = ModuleType("onnxruntime")
    module.__dict__.update({name: value for name, value in vars(real).items() if name != "preload_dlls"})
    module.__dict__.update(
        __file__=__file__,  # beside which no library of a provider lies
        cuda_version=cuda,
        starts=starts,
        options=[],
        fails=[],
        InferenceSession=type("InferenceSession", (InferenceSession,), {"module": module}),
        get_available_providers=lambda: [_TENSORRT, _CUDA, "CPUExecutionProvider"],
    )
    before = sys.modules["onnxruntime"]
    sys.modules["onnxruntime"] = module
    try:
        yield module
    finally:  # of this one alone: what else was imported meanwhile may not bear to be imported again, as onnx
        sys.modules["onnxruntime"] = before
