"""A step graph is compiled to an engine: one builder for TensorRT 10 and 11 and for TensorRT-RTX.

Types come from the graph (strongly typed networks), so the builder chooses kernels and nothing else. TensorRT builds on
the GPU that the engine is for. TensorRT-RTX builds ahead of time for chosen compute capabilities, on any machine.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, current_thread, main_thread
from types import ModuleType
from typing import Any

import onnx

from vmdepth_export.graph import expand
from vmdepth_export.stages import Moved, keep_quiet
from vmdepth_runtime.atomic_files import write_whole
from vmdepth_runtime.cache_folder import cache_folder
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.cuda_memory import load_driver
from vmdepth_runtime.sessions.engine_sidecar import (
    EngineFacts,
    Target,
    least_capability,
    load_library,
)
from vmdepth_runtime.sessions.gpu import Gpu, find_gpu, why_no_gpu
from vmdepth_runtime.sessions.library_log import collecting_logger, reason


@dataclass(frozen=True)
class BuildSettings:
    """capabilities: compute capabilities to build for, "8.6"; empty: that of the GPU here, or, with TensorRT-RTX on a
    machine without one, every one from 8.0 on that the graph's types allow. workspace: MiB that kernels may use beside
    weights and states; None leaves it to the library."""

    target: Target
    capabilities: tuple[str, ...] = ()
    workspace: int | None = None


def compile_graph(
    library: ModuleType,
    proto: onnx.ModelProto,
    source: Path,
    settings: BuildSettings,
    facts: EngineFacts,
    moved: Moved = keep_quiet,
) -> tuple[Any, dict[str, list[Any]]]:
    """What the library makes of a graph: a serialised engine, and its inputs and outputs (name → dtype, shape).

    source: where the graph is from, for people. facts: of the engine to be. moved: told how far it is.

    Raises WorkError when the library fails.
    """
    logger, errors = collecting_logger(library)
    builder = library.Builder(logger)
    network = builder.create_network(_strongly_typed(library))
    parser = library.OnnxParser(network, logger)
    # Weights kept in 8 bits are a storage of ours: the library would take them for quantised ones.
    if not parser.parse(expand(proto).SerializeToString()):
        refused = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise WorkError(f"{source}: {settings.target} does not take this graph: {reason(refused)}")
    config = _config(library, builder, settings, facts)
    timings = _Timings(library, config, facts) if settings.target == "tensorrt" else None
    with _noted_interrupt() as interrupted:
        if hasattr(library, "IProgressMonitor"):
            config.progress_monitor = _monitor(library, moved, interrupted)
        engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise WorkError(f"{source}: {settings.target} built no engine of it: {reason(errors)}")
    if timings is not None:
        timings.keep()
    return engine, _tensors(network)


def find_builder(target: Target, instead: str = "run this on the device") -> tuple[ModuleType, Gpu | None]:
    """The library that builds for a target, and this machine's GPU.

    instead: what to do where there is none. Raises InputError when it cannot build here.
    """
    gpu = find_gpu()
    if target == "tensorrt" and gpu is None:
        raise InputError(
            f"--target tensorrt: builds only on the GPU that the engine is for; {why_no_gpu()}, so here is none; "
            f"{instead}, or build ahead of time with '--target tensorrt-rtx'"
        )
    library = load_library(target)
    if target == "tensorrt":
        load_driver()  # such an engine is for this GPU, and gets its name when it has run here
    return library, gpu


def choose_capabilities(
    library: ModuleType, settings: BuildSettings, contract: StepContract, gpu: Gpu | None
) -> tuple[str, ...]:
    """The compute capabilities to build for. Raises InputError for those that cannot be."""
    least = least_capability(contract)
    if settings.target == "tensorrt":
        assert gpu is not None
        if settings.capabilities and settings.capabilities != (gpu.capability,):
            raise InputError(f"--target tensorrt: builds for the GPU of this machine alone, which is {gpu.capability}")
        known = chosen = [gpu.capability]
    else:
        names = [name[2:] for name in library.ComputeCapability.__members__ if name.startswith("SM")]
        known = [f"{name[:-1]}.{name[-1]}" for name in names]
        fitting = [name for name in known if float(name) >= least]
        chosen = list(settings.capabilities) or ([gpu.capability] if gpu else fitting)
    for name in chosen:
        if name not in known:
            raise InputError(f"compute capability {name}: {settings.target} builds for {', '.join(known)}")
        if float(name) < least:
            types = ", ".join(sorted(set(contract.precision.values())))
            raise InputError(f"compute capability {name}: too old for a graph of {types}, which needs {least}")
    return tuple(dict.fromkeys(chosen))


def _strongly_typed(library: ModuleType) -> int:
    # TensorRT 11 makes no other networks; its flag is there still, but may go.
    flag = getattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _config(library: ModuleType, builder: Any, settings: BuildSettings, facts: EngineFacts) -> Any:
    config = builder.create_builder_config()
    if not facts.tf32:
        config.clear_flag(library.BuilderFlag.TF32)
    if settings.workspace is not None:
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, settings.workspace << 20)
    if settings.target == "tensorrt-rtx":
        config.num_compute_capabilities = len(facts.capabilities)
        for index, name in enumerate(facts.capabilities):
            config.set_compute_capability(getattr(library.ComputeCapability, f"SM{name.replace('.', '')}"), index)
    return config


@contextmanager
def _noted_interrupt() -> Iterator[Event]:
    """Ctrl-C during a build is noted and raised after it: the library's callbacks, where it would arise, swallow it.

    The second one ends the process, as nothing is written yet.
    """
    interrupted = Event()
    if current_thread() is not main_thread():  # which signals do not reach
        yield interrupted
        return

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted.is_set():
        raise KeyboardInterrupt


def _monitor(library: ModuleType, moved: Moved, interrupted: Event) -> Any:
    """Tells of the builder's phases, which lie within each other: of the outermost how far it is, and the innermost.

    interrupted: once it is set the builder is told to give up.
    """

    class Monitor(library.IProgressMonitor):  # type: ignore[name-defined]  # known only once the library is
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self._phases: dict[str, tuple[int, int]] = {}  # steps done, and of how many; the outermost first

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = 0, num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._phases[phase_name] = step + 1, self._phases[phase_name][1]
            outermost, *inner = self._phases.items()
            moved(*outermost[1], ", ".join(f"{name} {done}/{total}" for name, (done, total) in inner[-1:]))
            return not interrupted.is_set()

        def phase_finish(self, phase_name: str) -> None:
            del self._phases[phase_name]

    return Monitor()


class _Timings:
    """What a builder measured on earlier builds is given to it, and kept for later ones.

    Kernel timings hold for one version of the library, one kind of GPU and one CUDA.
    """

    def __init__(self, library: ModuleType, config: Any, facts: EngineFacts) -> None:
        name = f"timing-{library.__name__}-{facts.version}-sm{facts.capabilities[0]}-cuda{facts.cuda}.cache"
        self._config, self._file = config, cache_folder("timing cache") / name
        # The builder only borrows it.
        self._cache = config.create_timing_cache(self._file.read_bytes() if self._file.exists() else b"")
        if self._cache is None or not config.set_timing_cache(self._cache, False):  # a file that is damaged
            self._cache = config.create_timing_cache(b"")
            config.set_timing_cache(self._cache, False)

    def keep(self) -> None:
        with suppress(WorkError):  # a disk that is full costs time on the next build, and not this engine
            write_whole(self._file, memoryview(self._config.get_timing_cache().serialize()))


def _tensors(network: Any) -> dict[str, list[Any]]:
    edges = [network.get_input(i) for i in range(network.num_inputs)]
    edges += [network.get_output(i) for i in range(network.num_outputs)]
    return {edge.name: [edge.dtype.name.lower(), *edge.shape] for edge in edges}
