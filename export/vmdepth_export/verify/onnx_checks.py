"""Checks of ONNX Runtime: what loads, and that it computes the same on every device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from vmdepth_export.verify.crossing import bytes_per_frame, told_bytes
from vmdepth_export.verify.outcome import LeftOut, Seen, spread
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.gpu import find_gpus
from vmdepth_runtime.sessions.onnx_runtime.providers import PROVIDERS

_REPEATED = 5  # frames that have to be the same again after a reset
_WARM_UP = 3
_CUDA = PROVIDERS["cuda"]
_WITHOUT_CUDA = "this ONNX Runtime is built without CUDA; onnxruntime-gpu in its place has it"


def providers(facts: Sequence[Sequence[str]]) -> Seen:
    """Which of ONNX Runtime's providers are listed, and which load, as the facts of the machine have it.

    CUDA's has to load where it is built in and a GPU is there; where a GPU is there and it is not built in, that is
    said. Raises LeftOut without ONNX Runtime, and where there are no facts.
    """
    from vmdepth_runtime.sessions.onnx_runtime.build import load_onnxruntime, two_builds

    try:
        load_onnxruntime()
    except InputError as error:
        raise LeftOut(str(error)) from None
    told = _under("ONNX Runtime", facts)
    if not told:
        raise LeftOut("what this machine is could not be told, see 'machine'")
    gpus, built_in = find_gpus(), [line for line in told if line.startswith(_CUDA)]
    broken = [line for line in built_in if gpus and "does not load" in line]
    broken += [wrong] if (wrong := two_builds()) else []
    told += [_WITHOUT_CUDA] if gpus and not built_in else []
    return Seen("; ".join(told), "; ".join(broken), {"providers": told})


def _under(wanted: str, facts: Sequence[Sequence[str]]) -> list[str]:
    """What facts say under a name; an empty one goes on with that before."""
    found, current = [], ""
    for name, value in facts:
        current = name or current
        if current == wanted:
            found.append(value)
    return found


def cuda_parity(graph: str, frames: int) -> Seen:
    """A step graph on the GPU against the same on the CPU. Raises LeftOut where ONNX Runtime is built without CUDA."""
    from vmdepth_export.parity.comparison import compare
    from vmdepth_export.parity.frames import choose_frames

    _check_built_with_cuda()
    with _open(graph, "cpu") as reference, _open(graph, "cuda") as candidate:
        report = compare(reference, candidate, choose_frames(None, frames, candidate.contract))
    told = f"depth {report.depth.largest:.1e}, states {report.states:.1e}, δ1 {report.agreement.delta1:.4f}"
    wrong = "" if report.agrees else f"CUDA and CPU disagree in {', '.join(report.wrong)}: {told}"
    return Seen(told, wrong, report.summary())


def steps(graph: str, device: str, count: int) -> Seen:
    """That a step graph gives the same again after a reset, how long a step takes, and what crosses to a GPU."""
    from vmdepth_export.parity.comparison import TOLERANCES, one_frame
    from vmdepth_export.parity.frames import choose_frames

    if device == "cuda":
        _check_built_with_cuda()
    with _open(graph, device) as session:
        frames = list(choose_frames(None, max(_REPEATED, 20), session.contract))
        first, again = _depths(session, frames[:_REPEATED]), _depths(session, frames[:_REPEATED])
        times = step_times(session, frames, count)
        where = session.runs_on
        crossed = bytes_per_frame(session, frames) if device != "cpu" else {}
    apart = one_frame(first, again).largest
    allowed = TOLERANCES["fp32"].largest or 0.0 if device == "cuda" else 0.0  # a GPU may add up in another order
    wrong, told = "", f"{where}: p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms"
    if crossed:
        told += f"; {told_bytes(crossed)}"
    if not np.isfinite(first).all():
        wrong = "depth is not finite"
    elif apart > allowed:
        wrong = f"after a reset depth is another, by {apart:.1e} of its range"
    elif crossed.get("states"):
        wrong = f"{crossed['states']:.0f} bytes of states a frame cross between host and device"
    return Seen(told, wrong, {"apart": apart, "step_ms": times, "bytes_per_frame": crossed})


def step_times(session: StepSession, frames: list[np.ndarray], count: int) -> dict[str, float]:
    """Percentiles of the milliseconds that a step takes, its frame handed in and its outputs there."""
    session.reset()
    taken = []
    for number in range(_WARM_UP + count):
        begun = perf_counter()
        session.frame[...] = frames[number % len(frames)]
        session.step()
        taken.append(1e3 * (perf_counter() - begun))
    return spread(taken[_WARM_UP:])


def _open(graph: str, device: str) -> StepSession:
    from vmdepth_runtime.sessions.load import load_session

    if not Path(graph).is_file():
        raise LeftOut("its step graph was not made")
    return load_session(graph, device=device)


def _check_built_with_cuda() -> None:
    from vmdepth_runtime.sessions.onnx_runtime.build import load_onnxruntime

    if _CUDA not in load_onnxruntime().get_available_providers():
        raise LeftOut(_WITHOUT_CUDA)


def _depths(session: StepSession, frames: list[np.ndarray]) -> np.ndarray:
    """[N, B, H, W], from the stream's beginning on."""
    session.reset()
    depths = []
    for frame in frames:
        session.frame[...] = frame
        depths.append(session.step()["depth"].copy())
    return np.stack(depths)
