"""Looking inside an engine: chosen inner tensors of one step, computed by TensorRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from vmdepth_export.engine import BuildSettings, compile_graph
from vmdepth_export.parity.probe import with_outputs
from vmdepth_runtime.contract import FRAME, state_input
from vmdepth_runtime.errors import WorkError
from vmdepth_runtime.sessions.engine_sidecar import EngineFacts, load_library
from vmdepth_runtime.sessions.library_log import collecting_logger, reason

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.cuda_memory import CudaMemory

# How NumPy holds what TensorRT computes; types that it has no name for are not looked at.
_DTYPES = {"float": "float32", "half": "float16", "uint8": "uint8", "int32": "int32", "int64": "int64"}


class EngineProbe:
    """The engine of a step graph with inner tensors as outputs besides; use as `Probe`.

    To be read, a tensor has to be written to memory, so what the library fuses is not quite what it fuses without: a
    fault that lies in a fusion may go away. proto: the graph that the engine was built from. facts: of that engine.
    """

    def __init__(self, proto: onnx.ModelProto, tensors: Sequence[str], facts: EngineFacts) -> None:
        self._library = library = load_library(facts.target)
        settings = BuildSettings(facts.target, tuple(facts.capabilities), facts.workspace)
        graph = with_outputs(proto, tensors)
        self.plan, self.edges = compile_graph(library, graph, Path(facts.source), settings, facts)
        self._tensors = list(tensors)

    def __call__(self, frame: NDArray[np.uint8], states: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Needs the GPU. Raises WorkError when the engine does not run."""
        from vmdepth_runtime.sessions.cuda_memory import CudaMemory

        device = CudaMemory()
        try:
            with device.current():
                return self._run(device, {FRAME: frame, **{state_input(name): array for name, array in states.items()}})
        finally:
            device.close()

    def _run(self, device: CudaMemory, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        logger, errors = collecting_logger(self._library)
        runtime = self._library.Runtime(logger)
        engine = context = None
        try:
            engine = runtime.deserialize_cuda_engine(memoryview(self.plan))
            if engine is not None:
                context = engine.create_execution_context()
            if context is None:
                raise _failure(errors)
            found = {}
            for name, (dtype, *shape) in self.edges.items():
                array = np.ascontiguousarray(inputs[name]) if name in inputs else np.empty(shape, _DTYPES[dtype])
                address = device.allocate(array.nbytes)
                context.set_tensor_address(name, address)
                if name in inputs:
                    device.upload(address, array)
                else:
                    found[name] = (array, address)
            if not context.execute_async_v3(device.stream):
                raise _failure(errors)
            for array, address in found.values():
                device.download(array, address)
            device.wait()
            return {name: found[name][0] for name in self._tensors}
        finally:
            context = engine = runtime = None  # which go before the GPU does, also where an error keeps this frame


def _failure(errors: list[str]) -> WorkError:
    return WorkError(f"an engine that was built to look inside does not run ({reason(errors)})")
