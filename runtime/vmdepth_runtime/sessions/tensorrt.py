"""An engine of TensorRT 10, 11 or TensorRT-RTX as a session; its states never leave the GPU."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import FRAME, TensorSpec
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.base import StepOutputs, StepSession
from vmdepth_runtime.sessions.cuda_graph import CudaGraph, record
from vmdepth_runtime.sessions.cuda_memory import CudaMemory
from vmdepth_runtime.sessions.engine_sidecar import EngineFacts, check_engine, load_library, read_sidecar
from vmdepth_runtime.sessions.gpu import find_gpu
from vmdepth_runtime.sessions.state_buffers import StateBuffers

_FAILED = "the engine failed; 'vmdepth-parity' against its step graph says more"


class TensorrtSession(StepSession):
    """An engine and its buffers.

    Per frame only the frame goes in, and the outputs come out, through host memory that the GPU copies by itself. What
    is launched for each of the two buffer sets is a CUDA graph of its own: TensorRT-RTX captures it, for TensorRT the
    session does. Where an engine cannot be captured its kernels are launched one by one.

    Args:
        path: the `.engine` file; its sidecar lies beside it.
        verify: compare the engine with its digest in the sidecar first.
        graphs: without them every kernel is launched by itself: slower, and to compare with.

    Raises:
        InputError: the engine does not belong to this machine, or to its sidecar.
    """

    def __init__(self, path: str | Path, *, verify: bool = True, graphs: bool = True) -> None:
        self.path = Path(path)
        self._wants_graphs = graphs
        self.contract, facts = read_sidecar(self.path)
        self.backend = f"{facts.target} {facts.version}"
        library = load_library(facts.target)
        check_engine(self.path, facts, library.__version__, find_gpu(), verify=verify)
        self.memory: CudaMemory = CudaMemory()
        try:
            self._load(library, facts)
        except BaseException:
            self.memory.close()
            raise

    def _load(self, library: ModuleType, facts: EngineFacts) -> None:
        contract, memory = self.contract, self.memory
        self._captures_itself = hasattr(library, "CudaGraphStrategy")  # TensorRT-RTX does
        self._logger = library.Logger(library.Logger.ERROR)
        self._runtime = library.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise InputError(
                f"{self.path}: {facts.target} cannot load it; build it again with 'vmdepth-export {facts.source} -o "
                f"{self.path} --target {facts.target}'"
            )
        shapes = {name: self._shape(name, spec) for name, spec in (contract.inputs | contract.outputs).items()}
        self._states = StateBuffers(contract, memory)
        self.frame: NDArray[np.uint8] = memory.pinned(shapes[FRAME], "uint8")
        self._outputs: StepOutputs = {o.name: memory.pinned(shapes[o.name], o.dtype) for o in contract.own_outputs}
        # Where the frame and the outputs are on the GPU; states are there and nowhere else.
        self._addresses = {
            name: memory.allocate(array.nbytes) for name, array in ({FRAME: self.frame} | self._outputs).items()
        }
        # A context per turn: each keeps its addresses, so that what it launches is the same every time.
        self._contexts = [self._context(library, turn) for turn in (0, 1)]
        self._graphs: list[CudaGraph | None] = [None, None]
        if self._wants_graphs and not self._captures_itself:
            self._graphs = [self._captured(context) for context in self._contexts]
            self._states.reset()  # the first runs were over nothing

    @property
    def runs_on(self) -> str:
        gpu = find_gpu()
        return f"{self.backend} on {gpu.name}" if gpu else self.backend

    @property
    def captured(self) -> bool | None:
        """Whether a step is one CUDA graph; None where the library keeps that to itself."""
        if not self._wants_graphs:
            return False
        return None if self._captures_itself else all(self._graphs)

    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        memory = self.memory
        memory.upload(self._addresses[FRAME], self.frame)
        graph = self._graphs[self._states.turn]
        context = self._contexts[self._states.turn]
        if not (context.execute_async_v3(memory.stream) if graph is None else graph.launch()):
            raise WorkError(f"{self.path}: {_FAILED}")
        self._states.advance(idle)
        for name, array in self._outputs.items():
            memory.download(array, self._addresses[name])
        memory.wait()
        return self._outputs

    def close(self) -> None:
        for graph in filter(None, self._graphs):
            graph.close()
        self._contexts.clear()
        del self._engine, self._runtime
        self.memory.close()

    def _shape(self, name: str, spec: TensorSpec) -> tuple[int, ...]:
        """Of an engine's tensor. Raises InputError where it is not what the sidecar says."""
        shape = tuple(self._engine.get_tensor_shape(name))
        fits = len(shape) == len(spec.shape) and all(w in (None, s) for s, w in zip(shape, spec.shape, strict=True))
        if not fits:
            raise InputError(f"{self.path}: its '{name}' is not as its sidecar says; build the engine again")
        return shape

    def _captured(self, context: Any) -> CudaGraph | None:
        stream = self.memory.stream

        def enqueue() -> bool:
            return bool(context.execute_async_v3(stream))

        if not enqueue():
            raise WorkError(f"{self.path}: {_FAILED}")
        self.memory.wait()
        graph = record(stream, enqueue)
        # A capture that failed leaves an error behind, which the next call may be told instead of its own result.
        if graph is None and not (enqueue() or enqueue()):
            raise WorkError(f"{self.path}: {_FAILED}")
        self.memory.wait()
        return graph

    def _context(self, library: ModuleType, turn: int) -> Any:
        if self._captures_itself:
            strategies = library.CudaGraphStrategy
            settings = self._engine.create_runtime_config()
            settings.cuda_graph_strategy = (
                strategies.WHOLE_GRAPH_CAPTURE if self._wants_graphs else strategies.DISABLED
            )
            context = self._engine.create_execution_context(settings)
        else:
            context = self._engine.create_execution_context()
        for name, address in self._addresses.items():
            context.set_tensor_address(name, address)
        for spec in self.contract.states:
            context.set_tensor_address(spec.input_name, self._states.inputs[turn][spec.name])
            context.set_tensor_address(spec.output_name, self._states.outputs[turn][spec.name])
        return context
