"""A stand-in for TensorRT's Python API, as far as vmdepth uses it: engines are step graphs that ONNX Runtime computes.

It lives on the stand-in for the CUDA driver (`tests/stand_ins/cuda`): a step is put on the caller's stream like a
kernel would be, reads and writes device memory by the addresses it was given, and runs only when that stream is waited
for. It is strict where TensorRT is: an address that is missing, or on another device than the engine, fails the step.

Tests that stand for other versions set `__version__` and take names away.
"""

from __future__ import annotations

import ctypes
import enum
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

__version__ = "10.16.1"
_MARK = b"stand-in engine "


def _cuda() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    driver.stand_in_host.restype = ctypes.c_void_p
    driver.stand_in_host.argtypes = driver.stand_in_device_of.argtypes = [ctypes.c_uint64]
    driver.stand_in_stream_device.argtypes = [ctypes.c_void_p]
    return driver


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
        self.flags = flags
        self.proto: onnx.ModelProto | None = None

    @property
    def _edges(self) -> tuple[list[_Tensor], list[_Tensor]]:
        assert self.proto is not None
        graph = onnx.shape_inference.infer_shapes(self.proto).graph
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
            self._network.proto = onnx.ModelProto.FromString(model)
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
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> bytes:
        return self._content + b"t"


class _Config:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}  # TensorRT's default
        self.pools: dict[MemoryPoolType, int] = {}
        self.progress_monitor: Any = None
        self._cache: _TimingCache | None = None

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def create_timing_cache(self, serialized_timing_cache: bytes) -> _TimingCache:
        return _TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return True

    def get_timing_cache(self) -> _TimingCache:
        assert self._cache is not None
        return self._cache


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            for step in range(2):
                monitor.step_complete("Building", step)
            monitor.phase_finish("Building")
        assert network.proto is not None
        return _MARK + bytes([BuilderFlag.TF32 in config.flags]) + network.proto.SerializeToString()


class Runtime:
    def __init__(self, logger: ILogger) -> None: ...

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not bytes(serialized_engine).startswith(_MARK):
            return None
        device = ctypes.c_int()
        if _cuda().cuCtxGetDevice(ctypes.byref(device)):
            return None
        return ICudaEngine(bytes(serialized_engine)[len(_MARK) :], device.value)


class ICudaEngine:
    """device: the GPU whose context was current when it was loaded. tf32: whether it was built with."""

    def __init__(self, content: bytes, device: int) -> None:
        self.device, self.tf32 = device, bool(content[0])
        proto = onnx.ModelProto.FromString(content[1:])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content[1:], options, providers=["CPUExecutionProvider"])
        graph = onnx.shape_inference.infer_shapes(proto).graph
        self.inputs = [value.name for value in graph.input]
        self.tensors = {
            value.name: (
                tuple(size.dim_value for size in value.type.tensor_type.shape.dim),
                helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            )
            for value in (*graph.input, *graph.output)
        }

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][0]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self._addresses: dict[str, int] = {}
        # By the addresses that were set when it was enqueued; kept, as a stream knows nothing of Python's references.
        self._kernels: dict[tuple[int, ...], Any] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine.tensors:
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        driver, addresses = _cuda(), dict(self._addresses)
        if addresses.keys() != self.engine.tensors.keys():
            return False
        devices = {driver.stand_in_device_of(address) for address in addresses.values()}
        if devices | {driver.stand_in_stream_device(stream_handle)} != {self.engine.device}:
            return False

        key = tuple(addresses[name] for name in self.engine.tensors)
        if key not in self._kernels:
            self._kernels[key] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(partial(self._compute, driver, addresses))
        return driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), self._kernels[key], None) == 0

    def _compute(self, driver: ctypes.CDLL, addresses: dict[str, int], _: Any) -> None:
        feeds = {name: self._view(driver, name, addresses[name]).copy() for name in self.engine.inputs}
        names = [name for name in self.engine.tensors if name not in feeds]
        for name, array in zip(names, self.engine.session.run(names, feeds), strict=True):
            self._view(driver, name, addresses[name])[...] = array

    def _view(self, driver: ctypes.CDLL, name: str, address: int) -> np.ndarray:
        shape, dtype = self.engine.tensors[name]
        host = driver.stand_in_host(address)
        size = prod(shape) * np.dtype(dtype).itemsize
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host)).view(dtype).reshape(shape)
