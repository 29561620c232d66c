"""A stand-in for what TensorRT-RTX does on a GPU: the one for TensorRT, with the names that RTX has besides.

Graphs are built by the real library, which needs no GPU; what it builds runs on none that is not there.
"""

from __future__ import annotations

import enum

import tensorrt
from tensorrt import *  # noqa: F403
from tensorrt import IExecutionContext
from tensorrt import Runtime as _Runtime
from tensorrt.building import _Config as _TensorRTConfig

__version__ = "1.7.1"


class ComputeCapability(enum.IntEnum):
    SM75, SM80, SM86, SM89, SM120 = 75, 80, 86, 89, 120


class CudaGraphStrategy(enum.IntEnum):
    DISABLED, WHOLE_GRAPH_CAPTURE = range(2)


class _RuntimeConfig:
    cuda_graph_strategy = CudaGraphStrategy.DISABLED


class _Config(_TensorRTConfig):
    num_compute_capabilities = 0

    def __init__(self) -> None:
        super().__init__()
        self._capabilities: dict[int, ComputeCapability] = {}

    def set_compute_capability(self, compute_capability: ComputeCapability, index: int) -> bool:
        self._capabilities[index] = compute_capability
        return index < self.num_compute_capabilities


class Builder(tensorrt.Builder):
    def create_builder_config(self) -> _Config:
        return _Config()


class ICudaEngine(tensorrt.ICudaEngine):
    def create_runtime_config(self) -> _RuntimeConfig:
        return _RuntimeConfig()

    def create_execution_context(self, runtime_config: _RuntimeConfig | None = None) -> IExecutionContext | None:
        context = super().create_execution_context()
        if context and runtime_config:
            context._strategy = runtime_config.cuda_graph_strategy
        return context


class Runtime(_Runtime):
    _engine = ICudaEngine
