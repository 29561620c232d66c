"""An engine of TensorRT 10, 11 or TensorRT-RTX with the face of `OnnxSession`; its states never leave the GPU."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.cuda_graph import CudaGraph, record
from vmdepth_runtime.sessions.cuda_memory import CudaDevice
from vmdepth_runtime.sessions.engine_sidecar import EngineFacts, check_engine, load_library, read_sidecar
from vmdepth_runtime.sessions.gpu import find_gpu
from vmdepth_runtime.sessions.onnx import StepOutput
from vmdepth_runtime.sessions.states import KeepsStates, States

_FAILED = "the engine failed; 'vmdepth-parity' against its step graph says more"


class TensorrtSession(KeepsStates):
    """An engine and its buffers. Use as `OnnxSession`; belongs to one thread.

    Per frame only the frame goes in, and depth, descriptor and change come out, through host memory that the GPU copies
    by itself. What is launched for each of the two buffer sets is a CUDA graph of its own: TensorRT-RTX captures it,
    for TensorRT the session does. Where an engine cannot be captured its kernels are launched one by one.

    verify: compare the engine with its digest in the sidecar first. Raises InputError when the engine does not belong
    to this machine, or to its sidecar.
    """

    def __init__(self, path: str | Path, *, verify: bool = True) -> None:
        self.path = Path(path)
        self.contract, facts = read_sidecar(self.path)
        self.backend = f"{facts.target} {facts.version}"
        library = load_library(facts.target)
        check_engine(self.path, facts, library.__version__, find_gpu(), verify=verify)
        self.memory = CudaDevice()
        try:
            self._load(library, facts)
        except BaseException:
            self.memory.close()
            raise

    def _load(self, library: ModuleType, facts: EngineFacts) -> None:
        c, memory = self.contract, self.memory
        self._logger = library.Logger(library.Logger.ERROR)
        self._runtime = library.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise InputError(
                f"{self.path}: {facts.target} cannot load it; build it again with 'vmdepth-export {facts.source} -o "
                f"{self.path} --target {facts.target}'"
            )
        for spec in c.states:
            for name, shape in ((f"state.{spec.name}", spec.shape), (f"next.{spec.name}", spec.next_shape)):
                if tuple(self._engine.get_tensor_shape(name)) != shape:
                    raise InputError(f"{self.path}: its '{name}' is not as its sidecar says; build the engine again")
        self._states = States(c, memory)
        self.frame: NDArray[np.uint8] = memory.pinned((c.streams, c.height, c.width, 3), "uint8")
        self._output = StepOutput(
            memory.pinned((c.streams, c.height, c.width), "float32"),
            memory.pinned(tuple(self._engine.get_tensor_shape("descriptor")), "float32"),
            memory.pinned((c.streams,), "float32"),
        )
        self._edges = {
            name: (memory.allocate(array.nbytes), array)
            for name, array in (("frame", self.frame), *vars(self._output).items())
        }
        # A context per turn: each keeps its addresses, so that what it launches is the same every time.
        self._contexts = [self._context(library, turn) for turn in (0, 1)]
        self._graphs: list[CudaGraph | None] = [None, None]
        if not hasattr(library, "CudaGraphStrategy"):
            self._graphs = [self._captured(context) for context in self._contexts]
            self._states.reset()  # the first runs were over nothing

    def step(self, idle: Collection[int] = ()) -> StepOutput:
        """Run the frames that lie in `self.frame` through the engine and advance the states by one frame.

        idle: streams whose frame is not to be remembered; their states stay.
        """
        memory = self.memory
        memory.upload(self._edges["frame"][0], self.frame)
        graph = self._graphs[self._states.turn]
        context = self._contexts[self._states.turn]
        if not (context.execute_async_v3(memory.stream) if graph is None else graph.launch()):
            raise WorkError(f"{self.path}: {_FAILED}")
        self._states.advance(idle)
        for name in vars(self._output):
            address, array = self._edges[name]
            memory.download(array, address)
        memory.wait()
        return self._output

    def close(self) -> None:
        """Let go of the engine and its memory."""
        for graph in filter(None, self._graphs):
            graph.close()
        self._contexts.clear()
        del self._engine, self._runtime
        self.memory.close()

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
        if hasattr(library, "CudaGraphStrategy"):
            settings = self._engine.create_runtime_config()
            settings.cuda_graph_strategy = library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = self._engine.create_execution_context(settings)
        else:
            context = self._engine.create_execution_context()
        for name, (address, _) in self._edges.items():
            context.set_tensor_address(name, address)
        for spec in self.contract.states:
            context.set_tensor_address(f"state.{spec.name}", self._states.inputs[turn][spec.name])
            context.set_tensor_address(f"next.{spec.name}", self._states.outputs[turn][spec.name])
        return context
