"""Which checks there are, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmdepth_export.verify.engine_checks import EnginePrecision, graphs_on_and_off, prove
from vmdepth_export.verify.onnx_checks import cuda_parity, providers, steps
from vmdepth_export.verify.outcome import Seen
from vmdepth_export.verify.reference import make_reference
from vmdepth_export.verify.settings import VerifySettings
from vmdepth_export.verify.stream_checks import GPU_MIB, memory, whole_run
from vmdepth_runtime import bundled

BUNDLED, REFERENCE = "edge", "reference"
_BYTES = "bytes a frame in copies of vmdepth's own"
_LIMITS: dict[EnginePrecision, str] = {"fp32": "≤ 1e-4", "fp16": "mean ≤ 5e-3", "int8": "mean ≤ 3e-2"}


@dataclass(frozen=True)
class Check:
    """One thing to look at, in a process of its own: what breaks there leaves the others alone.

    Attributes:
        name: in a few words.
        what: is checked, as the table says it.
        promised: what should be seen; empty where it is only measured.
        look: looks; found again by its name in that process.
        arguments: of it, as JSON can hold them.
        device: whether it takes a GPU.
    """

    name: str
    what: str
    promised: str
    look: Callable[..., Seen]
    arguments: dict[str, Any] = field(default_factory=dict)
    device: bool = False


@dataclass(frozen=True)
class Extent:
    """How long checks look. proof: frames that two models are compared over. timed: steps. held: frames over which
    memory has to stay. calibration: frames that INT8 takes its ranges from. precisions: of engines."""

    proof: int = 200
    timed: int = 500
    held: int = 2000
    calibration: int = 50
    precisions: tuple[EnginePrecision, ...] = ("fp32", "fp16", "int8")


QUICK = Extent(proof=60, timed=100, held=600, precisions=("fp32", "fp16"))


def plan(settings: VerifySettings, folder: Path, extent: Extent, facts: Sequence[Sequence[str]] = ()) -> list[Check]:
    """The checks, what matters most first. folder: for what they make for each other. facts: what the machine is, which
    is asked once; none where it was not told."""
    models = {BUNDLED: bundled.MODEL}
    what = "ONNX Runtime: what is installed, and which providers load"
    given: dict[str, Any] = {"facts": [list(fact) for fact in facts]}
    checks = [Check("ONNX Runtime", what, "CUDA's, where it is built in and a GPU is there", providers, given)]
    if not settings.quick or settings.reference:
        models[REFERENCE] = settings.reference or folder / f"{REFERENCE}.onnx"
        what = "reference, Video Depth Anything small of seeded weights: its step graph against PyTorch"
        checks.append(Check("reference network", what, "≤ 1e-4", make_reference, {"output": str(models[REFERENCE])}))
    for name, graph in models.items():
        checks.append(_steps(name, graph, "CPU", extent))
    for name, graph in models.items():
        for precision in extent.precisions:
            checks += _of_engine(name, graph, precision, settings, folder, extent)
    for name, graph in models.items():
        given = {"graph": str(graph), "frames": extent.proof}
        what = f"{name} in ONNX Runtime: CUDA against CPU, {extent.proof} frames, states included"
        checks += [
            Check(f"{name}, CUDA against CPU", what, "≤ 1e-4", cuda_parity, given, True),
            _steps(name, graph, "CUDA", extent),
        ]
    engine = _engine(folder, BUNDLED, "fp16")
    checks += _of_streams(f"{BUNDLED} fp16 engine", engine, extent)
    return checks + _of_streams(f"{BUNDLED} on the CPU", models[BUNDLED], extent)


def _steps(name: str, graph: Path, where: str, extent: Extent) -> Check:
    """Of a step graph in ONNX Runtime. where: "CPU" or "CUDA"."""
    given = {"graph": str(graph), "device": where.lower(), "count": extent.timed}
    what = f"{name} in ONNX Runtime on {where}: the same again after a reset; step p50, p99"
    what += f"; {_BYTES}" if where == "CUDA" else ""
    promised = "≤ 1e-4; none of states" if where == "CUDA" else "bit-equal"
    return Check(f"{name}, steps on {where}", what, promised, steps, given, where == "CUDA")


def _of_engine(
    name: str, graph: Path, precision: EnginePrecision, settings: VerifySettings, folder: Path, extent: Extent
) -> list[Check]:
    """One engine: that it is right, then how it runs."""
    engine = str(_engine(folder, name, precision))
    built = {
        "graph": str(graph),
        "precision": precision,
        "engine": engine,
        "target": settings.target,
        "frames": extent.proof,
        "calibration": extent.calibration,
    }
    short = f"{name} {precision} engine"
    proof = f"{name}, {precision} engine against its step graph, {extent.proof} frames, states included"
    graphs = f"{name}, {precision} engine with CUDA graphs and without: difference; step p50, p99; {_BYTES}"
    timed = {"engine": engine, "count": extent.timed}
    return [
        Check(f"{short} against its graph", proof, _LIMITS[precision], prove, built, True),
        Check(
            f"{short}, CUDA graphs",
            graphs,
            "tolerance of the precision; none of states",
            graphs_on_and_off,
            timed,
            True,
        ),
    ]


def _of_streams(what: str, model: Path, extent: Extent) -> list[Check]:
    """Whole streams, decoder and encoder included."""
    given, device = {"model": str(model)}, model.suffix == ".engine"
    run = f"vmdepth-run with {what}: frames out = frames in; frames/s"
    held = f"{what}: memory, frame 200 to {extent.held}"
    within = f"within 5 %{f'; of the GPU {GPU_MIB} MiB' if device else ''}"
    return [
        Check(f"{what}, vmdepth-run", run, "equal", whole_run, given, device),
        Check(f"{what}, memory", held, within, memory, {**given, "count": extent.held}, device),
    ]


def _engine(folder: Path, name: str, precision: str) -> Path:
    return folder / f"{name}.{precision}.engine"
