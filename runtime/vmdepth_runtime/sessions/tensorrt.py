"""An engine of TensorRT 10, 11 or TensorRT-RTX as a session; its states never leave the GPU."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, suppress
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
from vmdepth_runtime.sessions.gpu import find_gpu, wanted_gpu
from vmdepth_runtime.sessions.library_log import collecting_logger, reason
from vmdepth_runtime.sessions.state_buffers import StateBuffers

# How TensorRT calls what a step graph takes and gives.
_DTYPES = {"uint8": "UINT8", "float32": "FLOAT", "float16": "HALF"}


class TensorrtSession(StepSession):
    """An engine and its buffers.

    Per frame only the frame goes in, and the outputs come out, through host memory that the GPU copies by itself. What
    is launched for each of the two buffer sets is a CUDA graph of its own: TensorRT-RTX captures it, for TensorRT the
    session does. Where an engine cannot be captured its kernels are launched one by one.

    Args:
        path: the `.engine` file; its sidecar lies beside it.
        gpu: number of the one it runs on, from 0.
        verify: compare the engine with its digest in the sidecar first.
        graphs: without them every kernel is launched by itself: slower, and to compare with.

    Raises:
        InputError: the engine does not belong to this machine, or to its sidecar.
        WorkError: the GPU or the library fails, so when there is not enough memory.
    """

    def __init__(self, path: str | Path, *, gpu: int = 0, verify: bool = True, graphs: bool = True) -> None:
        self.path, self._number = Path(path), gpu
        self.contract, facts = read_sidecar(self.path)
        self.backend = f"{facts.target} {facts.version}"
        library = load_library(facts.target)
        self._wants_graphs, self._captures_itself = graphs, hasattr(library, "CudaGraphStrategy")  # TensorRT-RTX does
        check_engine(self.path, facts, library.__version__, wanted_gpu(gpu) if gpu else find_gpu(), verify=verify)
        self._logger, self._errors = collecting_logger(library)
        self._runtime: Any = None
        self._engine: Any = None
        self._contexts: list[Any] = []
        self._graphs: list[CudaGraph | None] = [None, None]
        self.memory: CudaMemory = CudaMemory(gpu)
        try:
            with self._current():
                self._load(library, facts)
        except BaseException as error:
            self._give_up(error)
            if isinstance(error, WorkError):
                raise WorkError(f"{self.path}: {error}") from None
            raise

    def _load(self, library: ModuleType, facts: EngineFacts) -> None:
        contract, memory = self.contract, self.memory
        self._runtime = library.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise InputError(
                f"{self.path}: {facts.target} cannot load it ({reason(self._errors)}); build it again with "
                f"'vmdepth-export {facts.source} -o {self.path} --target {facts.target}'"
            )
        shapes = self._checked_shapes(contract.inputs | contract.outputs)
        self._states = StateBuffers(contract, memory)
        self.frame: NDArray[np.uint8] = memory.pinned(shapes[FRAME], "uint8")
        self._outputs: StepOutputs = {o.name: memory.pinned(shapes[o.name], o.dtype) for o in contract.own_outputs}
        # Where the frame and the outputs are on the GPU; states are there and nowhere else.
        self._addresses = {
            name: memory.allocate(array.nbytes) for name, array in ({FRAME: self.frame} | self._outputs).items()
        }
        # A context per turn: each keeps its addresses, so that what it launches is the same every time.
        for turn in (0, 1):
            self._contexts.append(self._context(library, turn))
        if self._wants_graphs and not self._captures_itself:
            for turn, context in enumerate(self._contexts):
                self._graphs[turn] = self._captured(context)
            self._states.reset()  # the first runs were over nothing
        self._errors.clear()  # those of an engine that cannot be captured are none

    @property
    def runs_on(self) -> str:
        gpu = find_gpu(self._number)
        return f"{self.backend} on {gpu.name}" if gpu else self.backend

    @property
    def captured(self) -> bool | None:
        """Whether a step is one CUDA graph; None where the library keeps that to itself."""
        if not self._wants_graphs:
            return False
        return None if self._captures_itself else all(self._graphs)

    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        memory, turn = self.memory, self._states.turn
        graph = self._graphs[turn]
        try:
            with self._current():
                memory.upload(self._addresses[FRAME], self.frame)
                if graph is None:
                    self._enqueue(self._contexts[turn])
                else:
                    graph.launch()
                self._states.advance(idle)
                for name, array in self._outputs.items():
                    memory.download(array, self._addresses[name])
                memory.wait()
        except WorkError as error:
            raise WorkError(f"{self.path}: {error}") from None
        return self._outputs

    def close(self) -> None:
        if self._runtime is not None:
            with suppress(WorkError), self._current():
                with suppress(WorkError):
                    self.memory.wait()  # what is still under way needs all of it
                for graph in filter(None, self._graphs):
                    graph.close()
                self._graphs.clear()
                self._contexts.clear()
                self._engine = self._runtime = None
            self.frame, self._outputs = np.empty(0, np.uint8), {}  # what nobody else holds goes with it
        self.memory.close()

    def _current(self) -> AbstractContextManager[None]:
        return self.memory.current()

    def _checked_shapes(self, expected: Mapping[str, TensorSpec]) -> dict[str, tuple[int, ...]]:
        """Of all that goes in and comes out. Raises InputError where that is not what the sidecar says."""
        engine = self._engine
        names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        odd = names ^ expected.keys()
        shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names - odd}
        for name, shape in shapes.items():
            spec = expected[name]
            fits = len(shape) == len(spec.shape) and all(w in (None, s) for s, w in zip(shape, spec.shape, strict=True))
            if not fits or engine.get_tensor_dtype(name).name != _DTYPES[spec.dtype]:
                odd.add(name)
        if odd:
            raise InputError(f"{self.path}: its '{min(odd)}' is not as its sidecar says; build the engine again")
        return shapes

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self.memory.stream):
            raise WorkError(
                f"the engine failed ({reason(self._errors)}); 'vmdepth-parity' against its step graph says more"
            )

    def _captured(self, context: Any) -> CudaGraph | None:
        stream = self.memory.stream
        self._enqueue(context)
        self.memory.wait()
        graph = record(stream, lambda: bool(context.execute_async_v3(stream)))
        # A capture that failed leaves an error behind, which the next call may be told instead of its own result.
        if graph is None and not context.execute_async_v3(stream):
            self._enqueue(context)
        self.memory.wait()
        return graph

    def _context(self, library: ModuleType, turn: int) -> Any:
        engine = self._engine
        if hasattr(library, "CudaGraphStrategy"):
            strategies = library.CudaGraphStrategy
            settings = engine.create_runtime_config()
            settings.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if self._wants_graphs else strategies.DISABLED
            context = engine.create_execution_context(settings)
        else:
            context = engine.create_execution_context()
        if context is None:
            raise WorkError(
                f"the engine cannot be made ready to run ({reason(self._errors)}); is the GPU's memory full?"
            )
        addresses = dict(self._addresses)
        for spec in self.contract.states:
            addresses[spec.input_name] = self._states.inputs[turn][spec.name]
            addresses[spec.output_name] = self._states.outputs[turn][spec.name]
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise WorkError(f"the engine does not take its '{name}' ({reason(self._errors)})")
        return context
