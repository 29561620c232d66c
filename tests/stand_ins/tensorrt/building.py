"""From an ONNX file to an engine, which is that file and how products are rounded."""

from __future__ import annotations

import enum
import weakref
from typing import Any

import numpy as np
import onnx

import tensorrt  # whose names tests take away
from tensorrt.common import MARK, TYPES, ILogger

_TIMED = b"stand-in timings "


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class IProgressMonitor:
    def __init__(self) -> None: ...


class _Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.dtype = TYPES[value.type.tensor_type.elem_type]
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
        typed = getattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
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
        return MARK + bytes([tf32]) + network.proto.SerializeToString()


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
