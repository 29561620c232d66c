"""How fast the network, its step graph and the whole stream are, side by side in one run."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from vmdepth_export.bench.settings import BenchSettings
from vmdepth_runtime.atomic_files import check_target, write_report
from vmdepth_runtime.contract import FRAME, state_input
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.base import StepSession

PARTS = ("encoder", "heads", "decoder")
_ROUND = 10  # frames a session runs before the next one has its turn
_RUNS = 5  # of the whole command, each between two looks at how fast the machine is just then


def step_rates(sessions: dict[str, StepSession], frames: int) -> dict[str, float]:
    """Frames per second of each session, stepping over noise; they take turns, so that a busy machine slows all alike.

    The median over rounds, after one round that does not count.
    """
    noise = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(1 + max(1, frames // _ROUND)):
        for name, session in sessions.items():
            session.frame[...] = noise.integers(0, 256, session.frame.shape, np.uint8)
            start = perf_counter()
            for _ in range(_ROUND):
                session.step()
            seconds[name].append((perf_counter() - start) / _ROUND)
    return {name: 1 / float(np.median(times[1:])) for name, times in seconds.items()}


def part_shares(model: Path, frames: int) -> dict[str, float]:
    """Share (0..1) of a step's time in each part, by ONNX Runtime's own profile; "other" is what belongs to none.

    That is the input's normalisation, the descriptor and `state_change`.
    """
    import onnx
    import onnxruntime

    from vmdepth_runtime.sessions.onnx import OnnxSession

    with tempfile.TemporaryDirectory() as folder, OnnxSession(model) as session:
        feeds = {FRAME: session.frame, **{state_input(name): value for name, value in session.states().items()}}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        profiled = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for _ in range(frames):
            profiled.run(None, feeds)
        events = json.loads(Path(profiled.end_profiling()).read_text())
    # An optimised node keeps, at its front, the name of a node it replaces or of the tensor it makes.
    maker = {name: node.name for node in onnx.load(model).graph.node for name in node.output}
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time").removesuffix("_nchwc")
            part = next((p for p in PARTS if maker.get(name, name).startswith(p)), "other")
            spent[part] += event["dur"]
    total = sum(spent.values())
    return {part: spent[part] / total for part in (*PARTS, "other")}


def whole_runs(session: StepSession, model: Path, folder: Path, frames: int) -> tuple[list[dict[str, Any]], float]:
    """Reports of `vmdepth-run` over the bundled clip with this model, mp4 written; and how many times as long as the
    steps alone it takes: the median over runs, each against steps of the session just before and after it."""
    from vmdepth_runtime.pipeline.run import run
    from vmdepth_runtime.pipeline.settings import RunSettings

    reports, ratios = [], []
    before = step_rates({"": session}, frames)[""]
    for _ in range(_RUNS):
        report = run(RunSettings(("demo",), (str(folder / "bench.mp4"),), model, anchored=False))
        after = step_rates({"": session}, frames)[""]
        reports.append(report)
        ratios.append((before + after) / 2 / report["fps"])
        before = after
    return reports, float(np.median(ratios))


def benchmark(settings: BenchSettings) -> dict[str, Any]:
    """Measure frames per second and shares of time on this machine, as `vmdepth-bench` does.

    Args:
        settings: What is measured, and where the report goes.

    Returns:
        The figures as `--report` writes them: frames_per_second of each session and of the whole vmdepth-run,
        step_shares and run_shares (0..1), run_over_session, state_bytes, temporal_heads_ms.

    Raises:
        InputError: For a model that cannot be read, and one that takes several streams.
    """
    if settings.report:
        check_target(settings.report)
    figures = _measure(settings.model, settings.frames, settings.size, settings.against)
    if settings.report:
        write_report(figures, settings.report)
    return figures


def _measure(model: Path, frames: int, size: tuple[int, int] | None, against: tuple[Path, ...]) -> dict[str, Any]:
    from vmdepth.session import TorchSession, open_session
    from vmdepth_export.bench.heads import head_times
    from vmdepth_export.conversion.settings import ATTENTION
    from vmdepth_export.graph import save_step_graph, with_contract
    from vmdepth_export.step_graph import to_onnx
    from vmdepth_runtime.sessions.load import load_session
    from vmdepth_runtime.sessions.onnx import OnnxSession

    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        sessions: dict[str, StepSession] = {}
        session = open_session(model, size=size)
        graph = model
        if isinstance(session, TorchSession):
            graph = folder / "step.onnx"
            c = session.contract
            proto = to_onnx(session.model, c.height, c.width, c.streams, ATTENTION)
            save_step_graph(with_contract(proto, c), graph)
            sessions["torch step"] = session
        sessions["onnx step"] = OnnxSession(graph)
        contract = session.contract
        if contract.streams != 1:
            raise InputError(f"{model}: takes {contract.streams} streams at once; bench one exported with --streams 1")
        sessions |= {other.name: load_session(other) for other in against}
        rates = step_rates(sessions, frames)
        runs, ratio = whole_runs(sessions["onnx step"], graph, folder, frames)
        heads = {}
        if isinstance(session, TorchSession) and session.model.ring is not None:
            heads = head_times(session.model, contract.height, contract.width, frames)
        return {
            "model": contract.model,
            "size": [contract.height, contract.width],
            "frames_per_second": {**rates, "vmdepth-run": float(np.median([run["fps"] for run in runs]))},
            "step_shares": part_shares(graph, frames),
            "run_shares": sorted(runs, key=lambda run: run["fps"])[len(runs) // 2]["stage_shares"],
            "run_over_session": ratio,
            "state_bytes": contract.state_bytes,
            "temporal_heads_ms": heads,
        }
