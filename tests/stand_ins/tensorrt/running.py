"""An engine and its contexts on the stand-in for the CUDA driver."""

from __future__ import annotations

import ctypes
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from tensorrt.common import MARK, TYPES, DataType, ILogger
from vmdepth_export.parity.emulation import emulated

_KERNELS = 1000  # bytes that a runtime, an engine, and each of its contexts, has on the device


def _cuda() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    driver.stand_in_host.restype = ctypes.c_void_p
    driver.stand_in_host.argtypes = driver.stand_in_device_of.argtypes = [ctypes.c_uint64]
    driver.stand_in_stream_device.argtypes = [ctypes.c_void_p]
    driver.cuMemFree_v2.argtypes = [ctypes.c_uint64]
    return driver


class _Memory:
    """Device memory in the CUDA context that is current. Raises MemoryError where that cannot be had."""

    def __init__(self, size: int) -> None:
        self._address = ctypes.c_uint64()
        if _cuda().cuMemAlloc_v2(ctypes.byref(self._address), ctypes.c_size_t(size)):
            raise MemoryError

    def __del__(self) -> None:
        if self._address.value:
            _cuda().cuMemFree_v2(self._address)  # which fails, and loses it, where no context is current


class Runtime:
    _engine: type[ICudaEngine]

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self._memory: _Memory | None = None

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        content, device = bytes(serialized_engine), ctypes.c_int()
        try:
            self._memory = self._memory or _Memory(_KERNELS)
            if not content.startswith(MARK):
                raise ValueError("no engine of the stand-in")
            if _cuda().cuCtxGetDevice(ctypes.byref(device)):
                raise ValueError("no CUDA context")
            return self._engine(content[len(MARK) :], device.value, self._logger)
        except (ValueError, MemoryError) as error:
            self._logger.log(ILogger.Severity.ERROR, f"deserialization failed: {error!r}")
            return None


class ICudaEngine:
    """device: the GPU whose context was current when it was loaded."""

    def __init__(self, content: bytes, device: int, logger: ILogger) -> None:
        self._device, self._tf32, self._logger = device, bool(content[0]), logger
        self._memory = _Memory(_KERNELS)
        proto = onnx.ModelProto.FromString(content[1:])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        # Every result rounded to the type that the graph gives it, as kernels do.
        computed = emulated(proto).SerializeToString()
        self._session = onnxruntime.InferenceSession(computed, options, providers=["CPUExecutionProvider"])
        graph = proto.graph
        self._inputs = [value.name for value in graph.input]
        self._tensors = {
            value.name: (
                tuple(size.dim_value for size in value.type.tensor_type.shape.dim),
                helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            )
            for value in (*graph.input, *graph.output)
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name][0]

    def get_tensor_dtype(self, name: str) -> DataType:
        return TYPES[helper.np_dtype_to_tensor_dtype(self._tensors[name][1])]

    def create_execution_context(self) -> IExecutionContext | None:
        try:
            return IExecutionContext(self)
        except MemoryError:
            self._logger.log(ILogger.Severity.ERROR, "create_execution_context: out of memory")
            return None

    def _compute(self, driver: ctypes.CDLL, addresses: dict[str, int], _: Any) -> None:
        if not all(driver.stand_in_host(address) for address in addresses.values()):
            driver.stand_in_illegal()
            return
        feeds = {name: self._view(driver, name, addresses[name]).copy() for name in self._inputs}
        names = [name for name in self._tensors if name not in feeds]
        for name, array in zip(names, self._session.run(names, feeds), strict=True):
            self._view(driver, name, addresses[name])[...] = array

    def _view(self, driver: ctypes.CDLL, name: str, address: int) -> np.ndarray:
        shape, dtype = self._tensors[name]
        host = driver.stand_in_host(address)
        size = prod(shape) * np.dtype(dtype).itemsize
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host)).view(dtype).reshape(shape)


Runtime._engine = ICudaEngine


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._memory = _Memory(_KERNELS)
        self._addresses: dict[str, int] = {}
        # By the addresses that were set when it was enqueued; kept, as a stream knows nothing of Python's references.
        self._kernels: dict[tuple[int, ...], Any] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors:
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        driver, addresses = _cuda(), dict(self._addresses)
        missing = self._engine._tensors.keys() - addresses.keys()
        devices = {driver.stand_in_device_of(address) for address in addresses.values()}
        if missing or devices | {driver.stand_in_stream_device(stream_handle)} != {self._engine._device}:
            what = f"no address of {sorted(missing)}" if missing else f"addresses on devices {sorted(devices)}"
            self._engine._logger.log(ILogger.Severity.ERROR, f"execute_async_v3: {what}")
            return False
        key = tuple(addresses[name] for name in self._engine._tensors)
        if key not in self._kernels:
            self._kernels[key] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(
                partial(self._engine._compute, driver, addresses)
            )
        error = driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), self._kernels[key], None)
        if error:
            self._engine._logger.log(ILogger.Severity.ERROR, f"execute_async_v3: CUDA error {error}")
        return error == 0
