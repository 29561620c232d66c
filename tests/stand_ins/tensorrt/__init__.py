"""A stand-in for TensorRT's Python API, as far as vmdepth uses it: engines are step graphs that ONNX Runtime computes.

It lives on the stand-in for the CUDA driver (`tests/stand_ins/cuda`): a step is put on the caller's stream like a
kernel would be, reads and writes device memory by the addresses it was given, and runs only when that stream is waited
for. It is strict where TensorRT is: an address that is missing, or on another device than the engine, fails the step;
runtimes, engines and contexts have memory on the device, so they come and go while its CUDA context is the thread's.

Tests that stand for other versions set `__version__` and take names away.
"""

from __future__ import annotations

import ctypes
import enum
import weakref
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from vmdepth_export.parity.emulation import emulated

__version__ = "10.16.1"
_MARK = b"stand-in engine "
_TIMED = b"stand-in timings "
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


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None: ...

    def log(self, severity: Severity, msg: str) -> None: ...


class Logger(ILogger):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = ILogger.Severity

    def __init__(self, min_severity: ILogger.Severity = ILogger.Severity.WARNING) -> None:
        super().__init__()
        self.min_severity = min_severity


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class DataType(enum.Enum):
    FLOAT, HALF, UINT8, INT32, INT64, BF16, INT8, BOOL = range(8)


_TYPES = {
    onnx.TensorProto.FLOAT: DataType.FLOAT,
    onnx.TensorProto.FLOAT16: DataType.HALF,
    onnx.TensorProto.UINT8: DataType.UINT8,
    onnx.TensorProto.INT32: DataType.INT32,
    onnx.TensorProto.INT64: DataType.INT64,
    onnx.TensorProto.BOOL: DataType.BOOL,
}


class IProgressMonitor:
    def __init__(self) -> None: ...


class _Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.dtype = _TYPES[value.type.tensor_type.elem_type]
        self.shape = tuple(size.dim_value for size in value.type.tensor_type.shape.dim)


class _Network:
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self.proto: onnx.ModelProto | None = None

    @property
    def _edges(self) -> tuple[list[_Tensor], list[_Tensor]]:
        assert self.proto is not None
        graph = self.proto.graph
        return [_Tensor(value) for value in graph.input], [_Tensor(value) for value in graph.output]

    @property
    def num_inputs(self) -> int:
        return len(self._edges[0])

    @property
    def num_outputs(self) -> int:
        return len(self._edges[1])

    def get_input(self, index: int) -> _Tensor:
        return self._edges[0][index]

    def get_output(self, index: int) -> _Tensor:
        return self._edges[1][index]


class _ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: _Network, logger: ILogger) -> None:
        self._network, self._errors = network, list[_ParserError]()

    def parse(self, model: bytes) -> bool:
        try:
            self._network.proto = onnx.shape_inference.infer_shapes(onnx.ModelProto.FromString(model))
            onnx.checker.check_model(self._network.proto)
        except Exception as error:
            self._errors.append(_ParserError(str(error)))
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> _ParserError:
        return self._errors[index]


class _TimingCache:
    """Grows with every build."""

    def __init__(self, content: bytes) -> None:
        self.content = content or _TIMED

    def serialize(self) -> bytes:
        return self.content


class _Config:
    def __init__(self) -> None:
        self._flags = {BuilderFlag.TF32}  # TensorRT's default
        self._pools: dict[MemoryPoolType, int] = {}
        self.progress_monitor: Any = None
        self._cache: weakref.ref[_TimingCache] | None = None

    def get_flag(self, flag: BuilderFlag) -> bool:
        return flag in self._flags

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> _TimingCache:
        return _TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        self._cache = weakref.ref(cache)  # "must not be destroyed until after the engine is built"
        return cache.content.startswith(_TIMED)

    def get_timing_cache(self) -> _TimingCache:
        cache = self._cache and self._cache()
        assert cache, "the timing cache is gone"
        return cache


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        typed = getattr(NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        if typed is not None and not network._flags >> typed & 1:
            self._logger.log(ILogger.Severity.ERROR, "a network that is not strongly typed has its types chosen")
            return None
        if config.progress_monitor is not None and not _report_to(config.progress_monitor):
            return None
        assert network.proto is not None
        if config._cache is not None:
            config.get_timing_cache().content += b"."
        if tf32 := config.get_flag(BuilderFlag.TF32):
            _round_products(network.proto)
        return _MARK + bytes([tf32]) + network.proto.SerializeToString()


def _report_to(monitor: Any) -> bool:
    """Two phases, one within the other; whether the build is to go on."""
    monitor.phase_start("Building", None, 2)
    monitor.phase_start("Choosing kernels", "Building", 3)
    goes_on = [monitor.step_complete("Choosing kernels", step) for step in range(3)]
    monitor.phase_finish("Choosing kernels")
    goes_on += [monitor.step_complete("Building", step) for step in range(2)]
    monitor.phase_finish("Building")
    return all(goes_on)


def _round_products(proto: onnx.ModelProto) -> None:
    """What the weights of products are in TF32: ten bits of mantissa, the nearest."""
    read = {node.input[1] for node in proto.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")}
    for weight in proto.graph.initializer:
        if weight.name in read and weight.data_type == onnx.TensorProto.FLOAT:
            bits = onnx.numpy_helper.to_array(weight).view(np.uint32)
            rounded = (bits + np.uint32(1 << 12)) & ~np.uint32((1 << 13) - 1)
            weight.CopyFrom(onnx.numpy_helper.from_array(rounded.view(np.float32), weight.name))


class Runtime:
    _engine: type[ICudaEngine]

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self._memory: _Memory | None = None

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        content, device = bytes(serialized_engine), ctypes.c_int()
        try:
            self._memory = self._memory or _Memory(_KERNELS)
            if not content.startswith(_MARK):
                raise ValueError("no engine of the stand-in")
            if _cuda().cuCtxGetDevice(ctypes.byref(device)):
                raise ValueError("no CUDA context")
            return self._engine(content[len(_MARK) :], device.value, self._logger)
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
        return _TYPES[helper.np_dtype_to_tensor_dtype(self._tensors[name][1])]

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
