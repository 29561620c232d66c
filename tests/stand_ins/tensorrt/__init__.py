"""A stand-in for TensorRT's Python API, as far as vmdepth uses it: engines are step graphs that ONNX Runtime computes.

It lives on the stand-in for the CUDA driver (`tests/stand_ins/cuda`): a step is put on the caller's stream like a
kernel would be, reads and writes device memory by the addresses it was given, and runs only when that stream is waited
for. It is strict where TensorRT is: an address that is missing, or on another device than the engine, fails the step;
runtimes, engines and contexts have memory on the device, so they come and go while its CUDA context is the thread's.

Tests that stand for other versions set `__version__` and take names away.
"""

from __future__ import annotations

from tensorrt.building import (
    Builder,
    BuilderFlag,
    IProgressMonitor,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
)
from tensorrt.common import DataType, ILogger, Logger
from tensorrt.running import ICudaEngine, IExecutionContext, Runtime

__version__ = "10.16.1"
__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "ICudaEngine",
    "IExecutionContext",
    "ILogger",
    "IProgressMonitor",
    "Logger",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "Runtime",
]
