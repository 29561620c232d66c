"""Engines that get their name when they agree with their step graph, where this machine can run them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmdepth_export.engine import BuildSettings, choose_capabilities, compile_graph, find_builder
from vmdepth_export.graph import read_step_graph
from vmdepth_export.parity.comparison import compare, precision_of
from vmdepth_export.parity.frames import choose_frames, until
from vmdepth_export.parity.opening import open_pair
from vmdepth_export.parity.settings import PARITY_FRAMES
from vmdepth_export.stages import SILENT, Stages
from vmdepth_runtime.atomic_files import part_name, writing
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.integrity import file_hash
from vmdepth_runtime.sessions.cuda_memory import load_driver
from vmdepth_runtime.sessions.engine_sidecar import EngineFacts, read_sidecar, sidecar_of, to_sidecar
from vmdepth_runtime.sessions.gpu import find_gpu
from vmdepth_runtime.sessions.known_faults import known_bad

_LOOK = "look for the culprit with 'vmdepth-parity --bisect', or build it as fp32"


def build_and_tell(
    source: Path,
    output: Path,
    settings: BuildSettings,
    frames: int,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
    stages: Stages,
) -> None:
    """`build_engine`, and parity where there is a GPU to run the engine on.

    tell: gets the lines on what came of it. warn: gets those on what is known to be bad. stages: says how far it is.
    Raises WorkError, and leaves no engine behind, when the two do not agree.
    """
    built = build_engine(source, output, settings, frames, stages)
    contract, facts = read_sidecar(output)
    told = f"{settings.target} {facts.version}, compute capability {', '.join(facts.capabilities)}"
    if not built:
        tell(f"{output}: is up to date ({told})")
        return
    gpu = find_gpu()
    if bad := known_bad(facts.target, facts.version, gpu.capability if gpu else None):
        warn(f"{output}: TensorRT {facts.version} is {bad}")
    tell(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {told}")
    if contract.parity:
        frames, error = contract.parity["frames"], contract.parity["depth_mean"]
        tell(f"agrees with {source} over {frames} frames: depth {error:.1e} of its range")
    else:
        tell(
            "not compared, as it does not run on this machine; on the device: vmdepth-parity "
            f"{source.name} {output.name}"
        )


def _prove(source: Path, engine: Path, count: int, stages: Stages) -> dict[str, Any]:
    """The figures of an engine against its step graph. Raises WorkError when they disagree."""
    with (
        open_pair(source, engine) as (reference, candidate),
        stages.stage(f"proves it against {source.name}") as moved,
    ):
        frames = choose_frames(None, count, candidate.contract)
        report = compare(reference, candidate, until(frames, math.inf, count, count, moved))
    if not report.agrees:
        raise WorkError(f"not kept: the engine disagrees with {source} in {', '.join(report.wrong)}; {_LOOK}")
    return {**report.summary(), "reference": source.name}


def build_engine(
    source: Path, output: Path, settings: BuildSettings, frames: int = PARITY_FRAMES, stages: Stages = SILENT
) -> bool:
    """Build `output` and its sidecar from a step graph; False where the two are there already and still right.

    Where the engine runs on this machine's GPU it gets its name only once it agrees with the graph over `frames`
    frames. Raises InputError when this machine or the library cannot build it, WorkError when the library fails or the
    two disagree; what was there before then stays.
    """
    library, gpu = find_builder(settings.target)
    proto, contract = read_step_graph(source)
    capabilities = choose_capabilities(library, settings, contract, gpu)
    facts = EngineFacts(
        target=settings.target,
        version=library.__version__,
        capabilities=capabilities,
        cuda=gpu.cuda if gpu else None,
        source=source.name,
        workspace=settings.workspace,
        onnx_hash=file_hash(source),
        engine_hash="",
        tf32=precision_of(contract) != "fp32",  # its ten bits of mantissa are more than 1e-4 from float32
    )
    runs_here = gpu is not None and gpu.capability in capabilities
    if _is_current(output, facts, proven=runs_here):
        return False
    if runs_here:
        load_driver()  # which the proof takes: not missed only after minutes of building
    with stages.stage(f"builds {output.name} with {settings.target}") as moved:
        engine, tensors = compile_graph(library, proto, source, settings, facts, moved)
    part = part_name(output).with_suffix(".engine")
    try:
        with writing(output):
            part.write_bytes(memoryview(engine))
            facts = replace(facts, engine_hash=file_hash(part), tensors=tensors)
            # What the graph was found to be, its engine has yet to prove.
            sidecar_of(part).write_text(to_sidecar(replace(contract, parity={}), facts))
        if runs_here:
            proven = replace(contract, parity=_prove(source, part, frames, stages))
            with writing(output):
                sidecar_of(part).write_text(to_sidecar(proven, facts))
        with writing(output):
            # The engine first: one without its sidecar is refused, and so is one beside the sidecar of another.
            part.replace(output)
            sidecar_of(part).replace(sidecar_of(output))
    finally:
        for left in (part, sidecar_of(part)):
            left.unlink(missing_ok=True)
    return True


def _is_current(output: Path, wanted: EngineFacts, *, proven: bool) -> bool:
    if not output.exists():
        return False
    try:
        contract, facts = read_sidecar(output)
        if proven and not contract.parity:
            return False
        same = ("target", "version", "capabilities", "workspace", "onnx_hash", "tf32")
        return file_hash(output) == facts.engine_hash and all(getattr(facts, k) == getattr(wanted, k) for k in same)
    except InputError:
        return False
