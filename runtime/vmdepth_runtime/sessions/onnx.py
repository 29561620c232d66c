"""A step graph loaded in ONNX Runtime, bound once to buffers that stay where they are between frames."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from vmdepth_runtime.contract import FRAME, METADATA_KEY, REBUILD, StepContract, TensorSpec
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.integrity import check_digest
from vmdepth_runtime.sessions.base import StepOutputs, StepSession
from vmdepth_runtime.sessions.cuda_memory import CudaMemory
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.gpu import find_gpu
from vmdepth_runtime.sessions.onnx_runtime.build import load_onnxruntime, quiet, two_builds
from vmdepth_runtime.sessions.onnx_runtime.providers import CPU, OR_CPU, PROVIDERS, Providers, gpu_providers, usable_gpu
from vmdepth_runtime.sessions.state_buffers import HostMemory, Snapshot, StateBuffers

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding, SessionOptions

# It would round the weights of a layer that calibration left in float32, one step for all of them, where its neighbours
# are quantised.
_DISABLED = ["WeightBiasQuantization"]
# In what ONNX Runtime says of a device, and not of a file.
_OF_THE_DEVICE = re.compile("CUDA|TensorRT|provider|memory", re.IGNORECASE)
_ONNX_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "float16": "tensor(float16)"}


class OnnxSession(StepSession):
    """A step graph in ONNX Runtime, on the CPU or on a GPU, by its CUDA or its TensorRT provider.

    States stay where the graph computes: nothing of them is copied or allocated per frame. On a GPU everything, the
    provider's work included, is in order on one stream, that of `memory`.

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

    memory: HostMemory | CudaMemory

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
        self._threads, self._device = threads, Device.named(device)
        self.backend = {"cpu": "onnxruntime", "cuda": "onnxruntime, CUDA", "tensorrt": "onnxruntime, TensorRT"}[
            self._device.kind
        ]
        check_file(self.path, verify=verify)
        onnxruntime = load_onnxruntime()
        options = _options(onnxruntime, threads, spin=spin)
        gpu = None if self._device.kind == "cpu" else usable_gpu(onnxruntime, self._device)
        self.memory = HostMemory() if gpu is None else CudaMemory(gpu.number)
        self._session: InferenceSession | None = None
        self._bindings: list[IOBinding] = []
        try:
            providers: Providers = [CPU]
            if isinstance(self.memory, CudaMemory):
                assert gpu is not None
                providers = gpu_providers(onnxruntime, self._device, gpu, self.path, self.memory.stream)
            with self._current():
                self._session = _load(onnxruntime, self.path, options, providers, self._device)
                self._prepare(self._session)
        except BaseException as error:
            self._give_up(error)
            if isinstance(error, WorkError):
                raise WorkError(f"{self.path}: {error}") from None
            raise

    def _prepare(self, session: InferenceSession) -> None:
        try:
            metadata = session.get_modelmeta().custom_metadata_map
            self.contract = StepContract.from_json(metadata.get(METADATA_KEY), str(self.path))
            shapes = _checked_shapes(session, self.contract, self.path)
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: is damaged, its names or metadata are no text; {REBUILD}") from None
        self._states = StateBuffers(self.contract, self.memory)
        array = np.zeros if isinstance(self.memory, HostMemory) else self.memory.pinned
        self.frame = array(shapes[FRAME], "uint8")
        self._outputs: StepOutputs = {o.name: array(shapes[o.name], o.dtype) for o in self.contract.own_outputs}
        # Where the graph finds the frame and leaves the outputs; on a GPU they are copied from there and to there.
        self._places = {
            name: array.ctypes.data if isinstance(self.memory, HostMemory) else self.memory.allocate(array.nbytes)
            for name, array in ({FRAME: self.frame} | self._outputs).items()
        }
        self._bindings = [self._binding(session.io_binding(), turn) for turn in (0, 1)]

    @property
    def runs_on(self) -> str:
        if self._device.kind != "cpu":
            gpu = find_gpu(self._device.number)
            by = " by TensorRT" if self._device.kind == "tensorrt" else ""
            return f"ONNX Runtime{by} on {gpu.name if gpu else self._device}"
        cores = self._threads or _own_cores()
        return f"ONNX Runtime on {cores} CPU {'core' if cores == 1 else 'cores'}"

    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        memory = self.memory
        try:
            with self._current():
                if isinstance(memory, CudaMemory):
                    memory.upload(self._places[FRAME], self.frame)
                self._run(self._states.turn)
                self._states.advance(idle)
                if isinstance(memory, CudaMemory):
                    for name, array in self._outputs.items():
                        memory.download(array, self._places[name])
                memory.wait()
        except WorkError as error:
            raise WorkError(f"{self.path}: {error}") from None
        return self._outputs

    def restore(self, stream: int, snapshot: Snapshot, *, of_the_scene: bool = False) -> None:
        super().restore(stream, snapshot, of_the_scene=of_the_scene)
        self.memory.wait()  # what a node on the CPU reads is copied as it is bound, and nobody promises: in order

    def close(self) -> None:
        with suppress(WorkError), self._current():
            with suppress(WorkError):
                self.memory.wait()  # what is still under way, after a step that failed, needs all of it
            self._bindings.clear()
            self._session = None
        self.memory.close()
        if isinstance(self.memory, CudaMemory):
            self.frame, self._outputs = np.empty(0, np.uint8), {}  # what nobody else holds goes with the GPU

    def _current(self) -> AbstractContextManager[None]:
        return self.memory.current() if isinstance(self.memory, CudaMemory) else nullcontext()

    def _run(self, turn: int) -> None:
        assert self._session is not None
        if self._device.kind != "cpu":
            # What a node on the CPU reads is copied there as it is bound, and then only.
            self._bind_inputs(self._bindings[turn], turn)
        try:
            self._session.run_with_iobinding(self._bindings[turn])
        except Exception as error:  # its exception classes share no base but Exception
            raise WorkError(f"ONNX Runtime failed on {self._device}: {_plain(str(error))}") from None

    def _binding(self, binding: IOBinding, turn: int) -> IOBinding:
        self._bind_inputs(binding, turn)
        for name, array in self._outputs.items():
            binding.bind_output(name, *self._where, array.dtype.type, array.shape, self._places[name])
        for spec in self.contract.states:
            dtype, address = np.dtype(spec.dtype).type, self._states.outputs[turn][spec.name]
            binding.bind_output(spec.output_name, *self._where, dtype, spec.next_shape, address)
        return binding

    def _bind_inputs(self, binding: IOBinding, turn: int) -> None:
        binding.bind_input(FRAME, *self._where, np.uint8, self.frame.shape, self._places[FRAME])
        for spec in self.contract.states:
            dtype, address = np.dtype(spec.dtype).type, self._states.inputs[turn][spec.name]
            binding.bind_input(spec.input_name, *self._where, dtype, spec.shape, address)

    @property
    def _where(self) -> tuple[str, int]:
        return ("cpu", 0) if self._device.kind == "cpu" else ("cuda", self._device.number)


def default_device() -> str:
    """ "cuda" where there is a GPU and ONNX Runtime is built for it, else "cpu".

    Raises InputError where there is a GPU, and chance says which of two installed builds is imported.
    """
    has_gpu = find_gpu() is not None
    if has_gpu and (wrong := two_builds()):
        raise InputError(f"{wrong}; {OR_CPU}")
    return "cuda" if has_gpu and PROVIDERS["cuda"] in load_onnxruntime().get_available_providers() else "cpu"


def check_file(path: Path, *, verify: bool) -> None:
    """Raise InputError for a step graph's file that is missing or, by its digest, damaged."""
    if not os.path.isfile(path):  # noqa: PTH113 (which never raises)
        what = "is a folder, not a model" if os.path.isdir(path) else "no such model file"  # noqa: PTH112 (likewise)
        raise InputError(f"{path}: {what}; make one with 'vmdepth-export CHECKPOINT -o model.onnx'")
    if verify:
        check_digest(path)


def _own_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _options(onnxruntime: ModuleType, threads: int | None, *, spin: bool) -> SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings about graph clean-up would break up the command's own stderr
    options.inter_op_num_threads = 1  # the graph is a chain; parallel branches would only fight for cores
    # Spinning threads burn the cores that decoder and encoder need; where those are busy, a step takes half as long
    # again, and more.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _load(
    onnxruntime: ModuleType, path: Path, options: SessionOptions, providers: Providers, device: Device
) -> InferenceSession:
    try:
        with quiet(onnxruntime, options) if device.kind != "cpu" else nullcontext():
            session = onnxruntime.InferenceSession(
                str(path), options, providers=providers, disabled_optimizers=_DISABLED, enable_fallback=0
            )
    except Exception as error:  # its exception classes share no base but Exception
        reason = str(error).strip() or type(error).__name__
        if device.kind != "cpu" and _OF_THE_DEVICE.search(reason.replace(str(path), "")):
            raise InputError(f"--device {device}: ONNX Runtime cannot use it ({_plain(reason)}); {OR_CPU}") from None
        raise _refusal(path, reason) from None
    if session.get_providers()[0] != PROVIDERS[device.kind]:  # it goes on without a word where one does not start
        raise InputError(
            f"--device {device}: ONNX Runtime cannot start {PROVIDERS[device.kind]} here ('vmdepth-info' says why); "
            f"{OR_CPU}"
        )
    return session


def _refusal(path: Path, reason: str) -> InputError:
    """What to raise for a file that ONNX Runtime does not load. reason: as it says."""
    if "NOT_IMPLEMENTED" in reason or "float8" in reason:
        return InputError(
            f"{path}: computes in types that ONNX Runtime has no CPU kernels for (bfloat16 or float8); build an "
            f"engine of it with 'vmdepth-export {path} -o model.engine'"
        )
    if any(sign in reason for sign in ("INVALID_PROTOBUF", "No graph was found", "does not have a graph")):
        return InputError(f"{path}: not an ONNX file, or broken off; {REBUILD}")
    return InputError(f"{path}: ONNX Runtime cannot load it as a step graph ({_plain(reason)}); {REBUILD}")


def _plain(reason: str) -> str:
    if found := re.search(r"CUDA failure \d+: [^;]*", reason):
        return found[0].strip()
    first = next(iter(reason.strip().splitlines()), "it gives no reason")
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", first)[:200]


def _checked_shapes(session: InferenceSession, contract: StepContract, path: Path) -> dict[str, tuple[int, ...]]:
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
