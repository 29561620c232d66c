"""How fast the network, its step graph and the whole stream are, side by side in one run."""

from __future__ import annotations

import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from vmdepth.causal import check_asked
from vmdepth.official.hub import local_file
from vmdepth_export.bench.settings import BenchSettings
from vmdepth_export.stages import SILENT, Stages
from vmdepth_runtime.atomic_files import check_report, write_report
from vmdepth_runtime.contract import FRAME, state_input
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.load import MODEL_ENDINGS, load_session
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sessions.state_buffers import HostMemory

if TYPE_CHECKING:
    from vmdepth.session import TorchSession
    from vmdepth_runtime.sessions.base import StepSession

PARTS = ("encoder", "heads", "decoder")
ONNX_STEP, ENGINE_STEP = "ONNX step", "engine step"  # what all else is compared with
WHOLE_RUN = "vmdepth-run"
ROUNDS = 5  # in each of which everything has its turn, so that a busy machine slows all alike


def rates(
    sessions: dict[str, StepSession],
    model: Path,
    folder: Path,
    frames: int,
    stages: Stages,
    device: str | None = None,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Frames per second of each session, stepping over noise, and of the whole `vmdepth-run`; medians over rounds.

    Also the reports of the runs. A round of steps that does not count comes first.
    """
    noise = np.random.default_rng(0)
    steps = -(-frames // ROUNDS)
    found: dict[str, list[float]] = {name: [] for name in (*sessions, WHOLE_RUN)}
    reports = []
    with stages.stage("times them by turns, in rounds") as moved:
        for number in range(1 + ROUNDS):
            for name, session in sessions.items():
                session.frame[...] = noise.integers(0, 256, session.frame.shape, np.uint8)
                start = perf_counter()
                for _ in range(steps):
                    session.step()
                found[name].append(steps / (perf_counter() - start))
            moved(number, ROUNDS)
            if number:
                reports.append(_whole_run(model, folder, device))
                found[WHOLE_RUN].append(reports[-1]["fps"])
    medians = {name: float(np.median(of_rounds[-ROUNDS:])) for name, of_rounds in found.items()}
    return medians, reports


def _whole_run(model: Path, folder: Path, device: str | None) -> dict[str, Any]:
    """The report of a `vmdepth-run` over the bundled clip, mp4 written."""
    from vmdepth_runtime.pipeline.run import run
    from vmdepth_runtime.pipeline.settings import RunSettings

    with redirect_stderr(io.StringIO()):  # what it says is for who wants the video
        return run(RunSettings(("demo",), (str(folder / "bench.mp4"),), model, device=device, anchored=False))


def part_shares(model: Path, frames: int) -> dict[str, float]:
    """Share (0..1) of a step's time in each part, by ONNX Runtime's own profile; "other" is what belongs to none.

    That is the input's normalisation, the descriptor and `state_change`. Each operation counts with its median over
    the frames: one that the system interrupts once would count many times over.
    """
    import onnx
    import onnxruntime

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
    durations: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["name"].removesuffix("_kernel_time").removesuffix("_nchwc")].append(event["dur"])
    spent: dict[str, float] = defaultdict(float)
    for name, of_frames in durations.items():
        part = next((p for p in PARTS if maker.get(name, name).startswith(p)), "other")
        spent[part] += len(of_frames) * float(np.median(of_frames))
    total = sum(spent.values())
    return {part: spent[part] / total for part in (*PARTS, "other")}


def benchmark(
    settings: BenchSettings, *, stages: Stages = SILENT, warn: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure frames per second and shares of time on this machine, as `vmdepth-bench` does.

    Args:
        settings: What is measured, and where the report goes.
        stages: Says how far it is, while it works.
        warn: Gets a line where a setting changes nothing.

    Returns:
        The figures as `--report` writes them: frames_per_second of each session and of the whole vmdepth-run,
        step_shares (of a step graph on the CPU) and run_shares (0..1), state_bytes, temporal_heads_ms.

    Raises:
        InputError: For a model that cannot be read, and one that takes several streams.
    """
    check_report(settings.report, settings.model, *settings.against)
    figures = _measure(settings, stages, warn)
    if settings.report:
        write_report(figures, settings.report)
    return figures


def _measure(settings: BenchSettings, stages: Stages, warn: Callable[[str], None]) -> dict[str, Any]:
    frames = settings.frames
    model, *against = (local_file(file) for file in (settings.model, *settings.against))
    for file in (model, *against):  # not after PyTorch has been loaded
        if not file.is_file():
            raise InputError(f"{file}: no such file; name a checkpoint, a step graph or an engine")
    check_asked(settings.causal, [model])
    device = settings.device
    if device is not None:
        Device.named(device)
    with stages.stage(f"loads {model.name}"):
        network = None if model.suffix in MODEL_ENDINGS else _open_checkpoint(model, settings, warn)
        session = network or load_session(model, device=device or _usual_device(model))
    contract = session.contract
    if contract.streams != 1:
        raise InputError(f"{model}: takes {contract.streams} streams at once; bench one exported with --streams 1")
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        sessions: dict[str, StepSession] = {}
        graph = model
        if network is not None:
            graph = folder / "step.onnx"
            with stages.stage(f"traces the step at {contract.height}x{contract.width}"):
                _export(network, graph)
            sessions["PyTorch step"] = network
            sessions |= _anew(network)
            session = load_session(graph, device=device or _usual_device(graph))
        sessions[ENGINE_STEP if graph.suffix == ".engine" else ONNX_STEP] = session
        sessions |= {other.name: load_session(other, device=device) for other in against}
        per_second, runs = rates(sessions, graph, folder, frames, stages, device)
        with stages.stage("looks into the step"):
            heads = {} if network is None else _heads(network, frames)
            on_cpu = isinstance(session, OnnxSession) and isinstance(session.memory, HostMemory)
            shares = part_shares(graph, frames) if on_cpu else {}
        return {
            "model": contract.model,
            "size": [contract.height, contract.width],
            "frames_per_second": per_second,
            "step_shares": shares,
            "run_shares": sorted(runs, key=lambda run: run["fps"])[len(runs) // 2]["stage_shares"],
            "state_bytes": contract.state_bytes,
            "temporal_heads_ms": heads,
        }


def _open_checkpoint(model: Path, settings: BenchSettings, warn: Callable[[str], None]) -> TorchSession:
    from vmdepth.session import TorchSession, open_session  # PyTorch, which graphs and engines do without

    session = open_session(model, size=settings.size, causal=settings.causal, warn=warn)
    assert isinstance(session, TorchSession)
    return session


def _usual_device(path: Path) -> str | None:
    """Where a step is timed unless the settings say: a graph on the CPU, whose parts can be told."""
    return None if path.suffix == ".engine" else "cpu"


def _anew(session: TorchSession) -> dict[str, StepSession]:
    """What a network of views is compared with besides; nothing for all others."""
    from vmdepth.networks.multiview.causal_views import CausalViews
    from vmdepth_export.bench.views import AnewSession

    if not isinstance(session.model, CausalViews):
        return {}
    return {f"all {session.model.window + 1} frames anew": AnewSession(session.model, session.contract)}


def _heads(session: TorchSession, frames: int) -> dict[str, float]:
    """`head_times` of a network with rings, none of all others."""
    from vmdepth.networks.video_depth import VideoDepth
    from vmdepth_export.bench.heads import head_times

    if not isinstance(session.model, VideoDepth) or not session.model.ring:
        return {}
    return head_times(session.model, session.contract.height, session.contract.width, frames)


def _export(session: TorchSession, graph: Path) -> None:
    from vmdepth_export.conversion.settings import ATTENTION
    from vmdepth_export.graph import save_step_graph, with_contract
    from vmdepth_export.step_graph import to_onnx

    c = session.contract
    save_step_graph(with_contract(to_onnx(session.model, c.height, c.width, c.streams, ATTENTION), c), graph)
