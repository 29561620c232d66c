"""A step graph loaded in ONNX Runtime, bound once to buffers that stay where they are between frames."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmdepth_runtime.contract import FRAME, METADATA_KEY, REBUILD, StepContract, TensorSpec
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import check_digest
from vmdepth_runtime.sessions.base import StepOutputs, StepSession
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.gpu import find_gpu, wanted_gpu
from vmdepth_runtime.sessions.state_buffers import HostMemory, Memory, StateBuffers

if TYPE_CHECKING:
    import onnxruntime

_CUDA = "CUDAExecutionProvider"
# It would round the weights of a layer that calibration left in float32, one step for all of them, where its neighbours
# are quantised.
_DISABLED = ["WeightBiasQuantization"]
_ONNX_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "float16": "tensor(float16)"}


class OnnxSession(StepSession):
    """A step graph in ONNX Runtime, on the CPU or on the first CUDA device.

    States stay where the graph computes: nothing of them is copied or allocated per frame.

    Args:
        path: the `.onnx` file.
        threads: how many threads one step may use on the CPU; None leaves it to ONNX Runtime (all cores).
        device: as `Device.named` reads it.
        spin: whether threads that wait for work keep their cores busy.
        verify: compare the file with its digest first.

    Raises:
        InputError: the file is missing or damaged, is no ONNX graph, is not what its own contract says, or ONNX Runtime
            cannot use the device; it never falls back to another one by itself.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        device: str = "cpu",
        spin: bool = False,
        verify: bool = True,
    ) -> None:
        self.path = Path(path)
        self._threads, self._device = threads, (chosen := Device.named(device))
        self.backend = "onnxruntime" if chosen.kind == "cpu" else f"onnxruntime, {chosen}"
        self._session = _load(self.path, threads, chosen, spin=spin, verify=verify)
        try:
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.contract = StepContract.from_json(metadata.get(METADATA_KEY), str(path))
            shapes = _checked_shapes(self._session, self.contract, self.path)
        except UnicodeDecodeError:
            raise InputError(f"{path}: is damaged, its names or metadata are no text; {REBUILD}") from None
        self.memory = _memory_of(chosen)
        self._states = StateBuffers(self.contract, self.memory)
        self.frame = np.zeros(shapes[FRAME], np.uint8)
        self._outputs: StepOutputs = {o.name: np.zeros(shapes[o.name], o.dtype) for o in self.contract.own_outputs}
        self._bindings = [self._binding(turn, chosen) for turn in (0, 1)]

    @property
    def runs_on(self) -> str:
        if self._device.kind != "cpu":
            gpu = find_gpu(self._device.number)
            return f"ONNX Runtime on {gpu.name if gpu else 'CUDA'}"
        cores = self._threads or _own_cores()
        return f"ONNX Runtime on {cores} CPU {'core' if cores == 1 else 'cores'}"

    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        self._session.run_with_iobinding(self._bindings[self._states.turn])
        self._states.advance(idle)
        self.memory.wait()
        return self._outputs

    def close(self) -> None:
        self._bindings.clear()
        del self._session
        self.memory.close()

    def _binding(self, turn: int, device: Device) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        binding.bind_input(FRAME, "cpu", 0, np.uint8, self.frame.shape, self.frame.ctypes.data)
        for name, array in self._outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        where = "cpu" if device.kind == "cpu" else "cuda"
        for spec in self.contract.states:
            dtype = np.dtype(spec.dtype).type
            address = self._states.inputs[turn][spec.name]
            binding.bind_input(spec.input_name, where, device.number, dtype, spec.shape, address)
            address = self._states.outputs[turn][spec.name]
            binding.bind_output(spec.output_name, where, device.number, dtype, spec.next_shape, address)
        return binding


def default_device() -> str:
    """ "cuda" where ONNX Runtime was built for it and there is a GPU, else "cpu"."""
    import onnxruntime

    has = _CUDA in onnxruntime.get_available_providers() and find_gpu() is not None
    return "cuda" if has else "cpu"


def _own_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _memory_of(device: Device) -> Memory:
    if device.kind == "cpu":
        return HostMemory()
    from vmdepth_runtime.sessions.cuda_memory import CudaMemory

    return CudaMemory(device.number)


def _load(path: Path, threads: int | None, device: Device, *, spin: bool, verify: bool) -> onnxruntime.InferenceSession:
    if not os.path.isfile(path):  # noqa: PTH113 (which never raises)
        what = "is a folder, not a model" if os.path.isdir(path) else "no such model file"  # noqa: PTH112 (likewise)
        raise InputError(f"{path}: {what}; make one with 'vmdepth-export CHECKPOINT -o model.onnx'")
    if verify:
        check_digest(path)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings about graph clean-up would break up the command's own stderr
    options.inter_op_num_threads = 1  # the graph is a chain; parallel branches would only fight for cores
    # Spinning threads burn the cores that decoder and encoder need; where those are busy, a step takes half as long
    # again, and more.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    if device.kind != "cpu" and _CUDA not in onnxruntime.get_available_providers():
        raise InputError(
            "this ONNX Runtime is built without CUDA; install it with 'pip install onnxruntime-gpu' in place of "
            "onnxruntime, or run on the CPU with '--device cpu'"
        )
    if device.kind != "cpu":
        wanted_gpu(device.number)
    providers = (
        ["CPUExecutionProvider"]
        if device.kind == "cpu"
        else [(_CUDA, {"device_id": str(device.number)}), "CPUExecutionProvider"]
    )
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers, disabled_optimizers=_DISABLED)
    except Exception as error:  # its exception classes share no base but Exception
        raise _refusal(path, str(error).strip() or type(error).__name__) from None
    if session.get_providers()[0] != (
        _CUDA if device.kind != "cpu" else "CPUExecutionProvider"
    ):  # it falls back without a word when a CUDA library is missing
        raise InputError(
            "ONNX Runtime cannot start CUDA here ('vmdepth-info' says why); run on the CPU with '--device cpu'"
        )
    return session


def _refusal(path: Path, reason: str) -> InputError:
    """What to raise for a file that ONNX Runtime does not load. reason: as it says."""
    if "NOT_IMPLEMENTED" in reason or "float8" in reason:
        return InputError(
            f"{path}: computes in types that ONNX Runtime has no CPU kernels for (bfloat16 or float8); build an "
            f"engine of it with 'vmdepth-export {path} -o model.engine'"
        )
    if "INVALID_PROTOBUF" in reason or "No graph was found" in reason:
        return InputError(f"{path}: not an ONNX file, or broken off; {REBUILD}")
    plain = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", reason.splitlines()[0])[:200]
    return InputError(f"{path}: ONNX Runtime cannot load it as a step graph ({plain}); {REBUILD}")


def _checked_shapes(
    session: onnxruntime.InferenceSession, contract: StepContract, path: Path
) -> dict[str, tuple[int, ...]]:
    """Compare the graph's inputs and outputs with its contract; return the shape of each."""
    shapes: dict[str, tuple[int, ...]] = {}
    for side, expected, nodes in (
        ("input", contract.inputs, session.get_inputs()),
        ("output", contract.outputs, session.get_outputs()),
    ):
        found = {node.name: node for node in nodes}
        for name in sorted(expected.keys() | found.keys()):
            if name not in found:
                problem = f"has no {side} '{name}'"
            elif name not in expected:
                problem = f"has an {side} '{name}' its contract does not list"
            else:
                spec, node = expected[name], found[name]
                if node.type == _ONNX_TYPES[spec.dtype] and _fits(node.shape, spec):
                    shapes[name] = tuple(node.shape)
                    continue
                wanted = f"{spec.dtype} {[size if size is not None else 'any' for size in spec.shape]}"
                problem = f"has {side} '{name}' as {node.type} {node.shape}, its contract says {wanted}"
            raise InputError(f"{path}: {problem}; {REBUILD}")
    return shapes


def _fits(found: list[int | str | None], spec: TensorSpec) -> bool:
    # A symbolic size comes as a string: buffers of a fixed size cannot be bound to it.
    return len(found) == len(spec.shape) and all(
        isinstance(size, int) and (wanted is None or size == wanted)
        for size, wanted in zip(found, spec.shape, strict=True)
    )
