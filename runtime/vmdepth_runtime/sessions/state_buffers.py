"""What streams remember between frames: the buffers of a session's states, in host or device memory."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import DYNAMIC_STATES, StateSpec, StepContract


class Memory(Protocol):
    """Where buffers live. Addresses are plain numbers; copies happen in the order they were asked for."""

    def allocate(self, size: int) -> int:
        """Address of `size` new bytes, kept until `close`."""

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array, contiguous, to an address."""

    def download(self, array: NDArray[Any], address: int) -> None:
        """Copy from an address into an array, contiguous."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes from one buffer to another."""

    def copy_rows(self, target: int, pitch: int, source: int, width: int, rows: int) -> None:
        """Copy `rows` pieces of `width` bytes, which follow each other, to places `pitch` bytes apart."""

    def wait(self) -> None:
        """Until everything that was asked for is done."""

    def close(self) -> None:
        """Free the buffers."""


class HostMemory:
    """The process's own memory."""

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = []

    def allocate(self, size: int) -> int:
        self._buffers.append(np.zeros(max(size, 1), np.uint8))
        return self._buffers[-1].ctypes.data

    def upload(self, address: int, array: NDArray[Any]) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: NDArray[Any], address: int) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)

    def copy_rows(self, target: int, pitch: int, source: int, width: int, rows: int) -> None:
        into = np.lib.stride_tricks.as_strided(_at(target, pitch * (rows - 1) + width), (rows, width), (pitch, 1))
        into[...] = _at(source, width * rows).reshape(rows, width)

    def wait(self) -> None:
        return

    def view(self, address: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A buffer as an array, which shares its memory."""
        size = prod(shape) * np.dtype(dtype).itemsize
        return _at(address, size).view(dtype).reshape(shape)

    def close(self) -> None:
        self._buffers.clear()


@dataclass
class Snapshot:
    """A copy of one stream's states, in the same memory. frame: how many frames they had seen."""

    addresses: dict[str, int]
    frame: int = 0


class StateBuffers:
    """The states of all streams of a session.

    Recurrent states live in two sets of buffers that swap roles with every step, so nothing is copied. A ring lives in
    one, into which a frame's entry is written after the step. Streams share a buffer, the stream axis first, and are
    reset, saved and restored each on its own.

    contract: of the step graph. memory: where the buffers live; whoever made it closes it.
    """

    def __init__(self, contract: StepContract, memory: Memory) -> None:
        self._specs = contract.states
        self._streams = range(contract.streams)
        self._memory = memory
        sets = [{s.name: memory.allocate(_bytes(s, s.shape)) for s in self._specs if not s.ring} for _ in range(2)]
        rings = {s.name: memory.allocate(_bytes(s, s.shape)) for s in self._specs if s.ring}
        entries = {s.name: memory.allocate(_bytes(s, s.next_shape)) for s in self._specs if s.ring}
        self.inputs = [recurrent | rings for recurrent in sets]
        """By turn: state → address that a step reads it from."""
        self.outputs = [recurrent | entries for recurrent in reversed(sets)]
        """By turn: state → address that a step writes it to."""
        self.turn = 0
        """Which of the two the next step takes: 0 or 1."""
        self._frames = [0 for _ in self._streams]
        self.reset()

    def advance(self, idle: Collection[int] = ()) -> None:
        """After a step: what it wrote is what the next one reads. idle: streams that stay as they were before it."""
        read, wrote = self.inputs[self.turn], self.outputs[self.turn]
        for spec in self._specs:
            if spec.ring is not None:
                for stream in self._streams:
                    if stream not in idle:
                        self._keep_entry(spec, stream)
                continue
            size = _bytes(spec, spec.shape[1:])
            for stream in idle:
                self._memory.copy(wrote[spec.name] + stream * size, read[spec.name] + stream * size, size)
        for stream in self._streams:
            self._frames[stream] += stream not in idle
        self.turn = 1 - self.turn

    def reset(self, stream: int | None = None) -> None:
        """Forget everything: every state of one stream, or of all, back to its initial value."""
        for chosen in self._streams if stream is None else (stream,):
            for spec in self._specs:
                initial = np.full(spec.shape[1:], spec.initial, spec.dtype)
                self._memory.upload(self.inputs[self.turn][spec.name] + chosen * initial.nbytes, initial)
            self._frames[chosen] = 0
        self._memory.wait()

    def snapshot(self) -> Snapshot:
        """Room for the states of one stream."""
        return Snapshot({s.name: self._memory.allocate(_bytes(s, s.shape[1:])) for s in self._specs})

    def save(self, stream: int, snapshot: Snapshot) -> None:
        """Copy a stream's states into a snapshot."""
        for spec in self._specs:
            size = _bytes(spec, spec.shape[1:])
            self._memory.copy(snapshot.addresses[spec.name], self.inputs[self.turn][spec.name] + stream * size, size)
        snapshot.frame = self._frames[stream]

    def restore(self, stream: int, snapshot: Snapshot, *, of_the_scene: bool = False) -> None:
        """Copy a snapshot into a stream's states. of_the_scene: but for what only `dynamic` is made of, as far as that
        is no ring, which goes with the counter."""
        for spec in self._specs:
            if of_the_scene and spec.ring is None and spec.name.startswith(DYNAMIC_STATES):
                continue
            size = _bytes(spec, spec.shape[1:])
            self._memory.copy(self.inputs[self.turn][spec.name] + stream * size, snapshot.addresses[spec.name], size)
        self._frames[stream] = snapshot.frame

    def read(self) -> dict[str, NDArray[Any]]:
        """Copies of what the next step will read, by name, in the contract's shapes and dtypes."""
        return self._fetched({s.name: s.shape for s in self._specs}, self.inputs[self.turn])

    def read_next(self) -> dict[str, NDArray[Any]]:
        """Copies of what the last step wrote, by name: recurrent states, of rings the one entry."""
        return self._fetched({s.name: s.next_shape for s in self._specs}, self.outputs[1 - self.turn])

    def _fetched(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> dict[str, NDArray[Any]]:
        arrays = {spec.name: np.empty(shapes[spec.name], spec.dtype) for spec in self._specs}
        for name, array in arrays.items():
            self._memory.download(array, addresses[name])
        self._memory.wait()
        return arrays

    def _keep_entry(self, spec: StateSpec, stream: int) -> None:
        """Write the entry of a stream's frame into its slot of a ring."""
        assert spec.ring is not None
        axis, slots = spec.ring.axis, spec.ring.slots
        width = _bytes(spec, spec.shape[axis + 1 :])
        ring = self.inputs[self.turn][spec.name] + stream * _bytes(spec, spec.shape[1:])
        entry = self.outputs[self.turn][spec.name] + stream * _bytes(spec, spec.next_shape[1:])
        slot = spec.ring.slot(self._frames[stream])
        for number in range(slots) if slot is None else (slot,):
            self._memory.copy_rows(ring + number * width, slots * width, entry, width, prod(spec.shape[1:axis]))


def _at(address: int, size: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def _bytes(spec: StateSpec, shape: tuple[int, ...]) -> int:
    return prod(shape) * np.dtype(spec.dtype).itemsize
