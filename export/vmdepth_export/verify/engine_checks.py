"""Checks of engines: that they are right, and how they run."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from vmdepth_export.verify.crossing import bytes_per_frame, told_bytes
from vmdepth_export.verify.onnx_checks import step_times
from vmdepth_export.verify.outcome import LeftOut, Seen
from vmdepth_export.verify.sensors import after, read_sensors
from vmdepth_runtime.errors import InputError, WorkError

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.engine_sidecar import Target
    from vmdepth_runtime.sessions.tensorrt import TensorrtSession

EnginePrecision: TypeAlias = Literal["fp32", "fp16", "int8"]

_BAKED = 20  # frames: half precision is slow where it is emulated, and the engine is compared over all frames
_COMPARED = 60  # frames that steps with and without CUDA graphs are compared over


def prove(
    graph: str, precision: EnginePrecision, engine: str, target: Target | None, frames: int, calibration: int
) -> Seen:
    """Build an engine of a step graph in a precision, as `vmdepth-export` does, which compares the two.

    Raises LeftOut or MissingLibrary where what builds or runs it is not there, LeftOut where that does not know this
    GPU; WorkError where they disagree.
    """
    from vmdepth_export.conversion.proven_engine import build_engine
    from vmdepth_export.engine import BuildSettings, choose_capabilities, find_builder
    from vmdepth_export.graph import read_step_graph
    from vmdepth_runtime.sessions.engine_sidecar import read_sidecar

    if not Path(graph).is_file():
        raise LeftOut("its step graph was not made")
    output, settings = Path(engine), BuildSettings(target or installed_target())
    try:
        library, gpu = find_builder(settings.target)
        choose_capabilities(library, settings, read_step_graph(Path(graph))[1], gpu)
    except InputError as error:
        raise LeftOut(str(error)) from None
    made = in_precision(Path(graph), output.with_suffix(".onnx"), precision, calibration)
    build_engine(made, output, settings, frames)
    contract, facts = read_sidecar(output)
    if not contract.parity:
        raise LeftOut(f"built for {', '.join(facts.capabilities)}, which is not the GPU here")
    parity = contract.parity
    told = (
        f"depth {parity['depth_mean']:.1e} in the mean, {parity['depth']:.1e} at most, states "
        f"{parity['states']:.1e} at most, δ1 {parity['delta1']:.4f} ({facts.target} {facts.version})"
    )
    return Seen(told, figures={**parity, "target": facts.target, "version": facts.version, "tf32": facts.tf32})


def graphs_on_and_off(engine: str, count: int) -> Seen:
    """An engine that launches its step as a CUDA graph beside one that launches every kernel."""
    from vmdepth_export.parity.comparison import compare
    from vmdepth_export.parity.frames import choose_frames

    if not Path(engine).is_file():
        raise LeftOut("its engine was not built")
    with closing(_open(engine, graphs=True)) as on, closing(_open(engine, graphs=False)) as off:
        frames = list(choose_frames(None, _COMPARED, on.contract))
        report = compare(off, on, frames)
        furthest = max(report.worst.values())
        crossed = bytes_per_frame(on, frames)
        captured = on.captured
        without, with_graphs = (step_times(session, frames, count) for session in (off, on))
        sensors = read_sensors()
    wrong = []
    if not report.agrees:
        wrong.append(f"with CUDA graphs and without it disagrees in {', '.join(report.wrong)}, by up to {furthest:.1e}")
    if crossed["states"]:
        wrong.append(f"{crossed['states']:.0f} bytes of states a frame cross between host and device")
    how = {True: "captured", False: "cannot be captured", None: "captured by the library"}[captured]
    alike = f"{furthest:.1e} apart" if furthest else "bit-equal"
    told = (
        f"{how}, {alike}: p50 {with_graphs['p50']:.2f} ms, p99 {with_graphs['p99']:.2f} ms; without "
        f"p50 {without['p50']:.2f} ms, p99 {without['p99']:.2f} ms; {told_bytes(crossed)}{after(sensors)}"
    )
    figures = {
        "captured": captured,
        "apart": furthest,
        "step_ms": {"graphs": with_graphs, "kernels": without},
        "bytes_per_frame": crossed,
        "sensors": sensors,
    }
    return Seen(told, "; ".join(wrong), figures)


def installed_target() -> Target:
    """TensorRT where it is installed, else TensorRT-RTX where that is; TensorRT where neither is."""
    from importlib.util import find_spec

    rtx = find_spec("tensorrt") is None and find_spec("tensorrt_rtx") is not None
    return "tensorrt-rtx" if rtx else "tensorrt"


def _open(engine: str, *, graphs: bool) -> TensorrtSession:
    from vmdepth_runtime.sessions.tensorrt import TensorrtSession

    return TensorrtSession(engine, graphs=graphs)


def in_precision(graph: Path, output: Path, precision: EnginePrecision, calibration: int) -> Path:
    """A float32 step graph in another precision, proven as the commands prove it; "fp32" is itself.

    output: where it goes. calibration: frames of the bundled clip that INT8 takes its
    ranges from. Raises WorkError where it disagrees with what it is made from.
    """
    if precision == "fp32":
        return graph
    if precision == "int8":
        _quantise(graph, output, calibration)
        return output
    from vmdepth_export.conversion.proven_graph import bake_step_graph

    bake_step_graph(graph, output, precision, frames=_BAKED)
    return output


def _quantise(graph: Path, output: Path, frames: int) -> None:
    """By the command: what calibrates stands above this package, which may not import it."""
    words = [sys.executable, "-m", "vmdepth_calibrate.cli", graph, "--data", "demo", "--frames", frames, "-o", output]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkError((done.stderr.strip().splitlines() or ["vmdepth-calibrate failed"])[-1])
