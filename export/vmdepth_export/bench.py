"""`vmdepth-bench`: how fast the network, its step graph and the whole stream are, side by side in one run."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import click
import numpy as np

from vmdepth_export.export import parse_size
from vmdepth_runtime.atomic_files import check_target, write_report
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from vmdepth.session import Session

REGIONS = ("encoder", "heads", "decoder")
_ROUND = 10  # frames a session runs before the next one has its turn
_RUNS = 5  # of the whole command, each between two looks at how fast the machine is just then


def step_rates(sessions: dict[str, Session], frames: int) -> dict[str, float]:
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


def region_shares(model: Path, frames: int) -> dict[str, float]:
    """Share (0..1) of a step's time in each region, by ONNX Runtime's own profile; "other" is what belongs to none.

    That is the input's normalisation, the descriptor and `state_change`.
    """
    import onnx
    import onnxruntime

    from vmdepth_runtime.sessions.onnx import OnnxSession

    with tempfile.TemporaryDirectory() as folder, OnnxSession(model) as session:
        feeds = {"frame": session.frame, **{f"state.{name}": value for name, value in session.states().items()}}
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
            region = next((r for r in REGIONS if maker.get(name, name).startswith(r)), "other")
            spent[region] += event["dur"]
    total = sum(spent.values())
    return {region: spent[region] / total for region in (*REGIONS, "other")}


def whole_runs(session: Session, model: Path, folder: Path, frames: int) -> tuple[list[dict[str, Any]], float]:
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


def measure(
    model: Path, frames: int, size: tuple[int, int] | None = None, against: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """All figures for a checkpoint (at `size`, or its usual one) or a step graph (at its own size).

    against: other step graphs or engines, timed in turns with it.
    """
    import onnx

    from vmdepth.session import TorchSession, open_session
    from vmdepth_export.bench_heads import head_times
    from vmdepth_export.graph import with_contract
    from vmdepth_export.step_graph import to_onnx
    from vmdepth_runtime.sessions.load import load_session
    from vmdepth_runtime.sessions.onnx import OnnxSession

    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        sessions: dict[str, Session] = {}
        session = open_session(model, size=size)
        graph = model
        if isinstance(session, TorchSession):
            graph = folder / "step.onnx"
            c = session.contract
            onnx.save(with_contract(to_onnx(session.model, c.height, c.width, c.streams), c), graph)
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
            "step_shares": region_shares(graph, frames),
            "run_shares": sorted(runs, key=lambda run: run["fps"])[len(runs) // 2]["stage_shares"],
            "run_over_session": ratio,
            "state_bytes": contract.state_bytes,
            "temporal_heads_ms": heads,
        }


@click.command("vmdepth-bench")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--size", metavar="HxW", help="Of a checkpoint, pixels.  [default: the network's usual size]")
@click.option("--frames", default=100, show_default=True, type=click.IntRange(min=1), help="Steps timed per session.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Also time this step graph or engine, in the same run; may be given several times.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures as JSON.")
def bench(model: Path, size: str | None, frames: int, against: tuple[Path, ...], report: Path | None) -> None:
    """Frames per second of MODEL on this machine: PyTorch step (checkpoints), ONNX step, and the whole vmdepth-run."""
    from rich.console import Console
    from rich.table import Table

    if report:
        check_target(report)
    figures = measure(model, frames, parse_size(size) if size else None, against)
    if report:
        write_report(figures, report)
    height, width = figures["size"]
    rates = figures["frames_per_second"]
    table = Table(f"{figures['model']}, {height}x{width}", "frames/s", "against the ONNX step")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.1f}", f"{rate / rates['onnx step']:.2f}×")
    console = Console()
    console.print(table)
    for title, shares in (("ONNX step", figures["step_shares"]), ("vmdepth-run, overlapping", figures["run_shares"])):
        console.print(f"{title}: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items()))
    console.print(f"vmdepth-run takes {figures['run_over_session']:.2f}× the time of the ONNX steps alone")
    console.print(f"States: {figures['state_bytes'] / 1e6:.1f} MB")
    if times := figures["temporal_heads_ms"]:
        ratio = times["re-projected"] / times["step"]
        console.print(
            f"Temporal heads: {times['step']:.1f} ms per frame; projecting the window again, as official code does, "
            f"{times['re-projected']:.1f} ms ({ratio:.1f}×)"
        )


def main() -> NoReturn:
    run_command(bench)


if __name__ == "__main__":
    main()
