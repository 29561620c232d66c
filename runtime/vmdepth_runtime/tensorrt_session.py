"""An engine of TensorRT 10, 11 or TensorRT-RTX with the face of `OnnxSession`; its states never leave the GPU."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import StateSpec
from vmdepth_runtime.device import CudaDevice
from vmdepth_runtime.engine import check_engine, load_library, read_sidecar
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.machine import find_gpu
from vmdepth_runtime.session import StepOutput


class TensorrtSession:
    """An engine and its buffers. Use as `OnnxSession`; belongs to one thread.

    Recurrent states have two buffers on the GPU that swap roles at every step. A ring has one, into which the frame's
    entry is written after the step. Per frame only the frame goes in, and depth, descriptor and change come out,
    through host memory that the GPU copies by itself.

    Raises InputError when the engine does not belong to this machine, or to its sidecar.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.contract, facts = read_sidecar(self.path)
        library = load_library(facts.target)
        check_engine(self.path, facts, library.__version__, find_gpu())
        self._device = device = CudaDevice()
        self._logger = library.Logger(library.Logger.ERROR)
        self._runtime = library.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            device.close()
            raise InputError(
                f"{path}: {facts.target} cannot load it; build it again with 'vmdepth-export {facts.source} -o {path} "
                f"--target {facts.target}'"
            )
        self._context = self._engine.create_execution_context()

        c = self.contract
        descriptor = tuple(self._engine.get_tensor_shape("descriptor"))
        self.frame: NDArray[np.uint8] = device.pinned((c.streams, c.height, c.width, 3), "uint8")
        self._output = StepOutput(
            device.pinned((c.streams, c.height, c.width), "float32"),
            device.pinned(descriptor, "float32"),
            device.pinned((c.streams,), "float32"),
        )
        self._edges = {
            name: (device.allocate(array.nbytes), array)
            for name, array in (("frame", self.frame), *vars(self._output).items())
        }
        for name, (address, _) in self._edges.items():
            self._context.set_tensor_address(name, address)
        self._read = {s.name: device.allocate(_bytes(s, s.shape)) for s in c.states}
        self._write = {s.name: device.allocate(_bytes(s, s.next_shape)) for s in c.states}
        self._frame = 0
        self.reset()

    def step(self) -> StepOutput:
        """Run the frame that lies in `self.frame` through the engine and advance the states by one frame."""
        device, context = self._device, self._context
        device.upload(self._edges["frame"][0], self.frame)
        for spec in self.contract.states:
            context.set_tensor_address(f"state.{spec.name}", self._read[spec.name])
            context.set_tensor_address(f"next.{spec.name}", self._write[spec.name])
        if not context.execute_async_v3(device.stream):
            raise WorkError(f"{self.path}: the engine failed at frame {self._frame} since the last reset")
        for spec in self.contract.states:
            if spec.ring is not None:
                self._keep_entry(spec)
        for name, (address, array) in self._edges.items():
            if name != "frame":
                device.download(array, address)
        device.wait()
        for spec in self.contract.states:
            if spec.ring is None:
                name = spec.name
                self._read[name], self._write[name] = self._write[name], self._read[name]
        self._frame += 1
        return self._output

    def reset(self) -> None:
        """Forget everything seen: every state back to its initial value."""
        self.set_states({s.name: np.full(s.shape, s.initial, s.dtype) for s in self.contract.states})
        self._frame = 0

    def written(self) -> dict[str, NDArray[Any]]:
        """Copies of what the last step wrote, by name: recurrent states, of rings the one entry."""
        return {
            s.name: self._fetched(self._read[s.name] if s.ring is None else self._write[s.name], s.next_shape, s.dtype)
            for s in self.contract.states
        }

    def states(self) -> dict[str, NDArray[Any]]:
        """Copies of the states that the next step will read, by name."""
        return {s.name: self._fetched(self._read[s.name], s.shape, s.dtype) for s in self.contract.states}

    def set_states(self, states: dict[str, NDArray[Any]]) -> None:
        """Replace all states, matched by name; each in the contract's shape."""
        for spec in self.contract.states:
            self._device.upload(self._read[spec.name], np.ascontiguousarray(states[spec.name], spec.dtype))
        self._device.wait()
        if "counter" in states:
            self._frame = int(states["counter"][0])  # as good as the frame's number, see `OnnxSession.set_states`

    def close(self) -> None:
        """Let go of the engine and its memory."""
        del self._context, self._engine, self._runtime
        self._device.close()

    def _keep_entry(self, spec: StateSpec) -> None:
        """Start writing the entry of this frame into its slot of a ring, on the GPU."""
        assert spec.ring is not None
        axis, slots = spec.ring.axis, spec.ring.slots
        width = _bytes(spec, spec.shape[axis + 1 :])
        slot = spec.ring.slot(self._frame)
        for number in range(slots) if slot is None else (slot,):
            start = self._read[spec.name] + number * width
            self._device.copy_rows(start, slots * width, self._write[spec.name], width, prod(spec.shape[:axis]))

    def _fetched(self, address: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        array = np.empty(shape, dtype)
        self._device.download(array, address)
        self._device.wait()
        return array


def _bytes(spec: StateSpec, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(spec.dtype).itemsize
