"""`export`: checkpoint → step graph → engine, as far as is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import TYPE_CHECKING

from vmdepth.causal import check_asked, check_steps, flag, form_of, load_asked
from vmdepth.official.hub import local_file
from vmdepth_export.conversion.proven_graph import bake_step_graph, export_step_graph
from vmdepth_export.conversion.settings import ATTENTION, PRECISION, STREAMS, ExportSettings
from vmdepth_export.parity.settings import PARITY_FRAMES
from vmdepth_export.stages import SILENT, Stages
from vmdepth_runtime.atomic_files import check_target
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from vmdepth_export.parity.comparison import ParityReport

_OF_CHECKPOINTS = ("size", "temporal", "window", "attention", "streams", "dynamic_mask")
_OF_GRAPHS = (*_OF_CHECKPOINTS, "precision", "causal", "proof_frames")


def export(
    settings: ExportSettings,
    *,
    tell: Callable[[str], None] = lambda line: None,
    warn: Callable[[str], None] = lambda line: None,
    stages: Stages = SILENT,
) -> ParityReport | None:
    """Write a step graph, an engine, a Triton repository, or all of them, as `vmdepth-export` does.

    What is written agrees with what it is made from; where an engine does not run on this machine, its graph does.

    Args:
        settings: What is made of what.
        tell: Gets a line for each file, once it is there.
        warn: Gets a line where something may go wrong later.
        stages: Says how far it is, while it works.

    Returns:
        What was measured of the step graph; None where the source is the graph that is wanted.

    Raises:
        InputError: For settings, a source or an output that is not as it should be; before anything is written.
        WorkError: Where the two do not agree, or the library that builds engines fails.
    """
    _check_output(settings)
    given, settings = settings, replace(settings, source=local_file(settings.source))
    source, output = settings.source, settings.output
    _check_source(settings)
    builds = output is not None and output.suffix == ".engine"
    if builds:
        from vmdepth_export.conversion.proven_engine import build_and_tell
        from vmdepth_export.engine import BuildSettings

        _check_builder(given, source)  # not after minutes of exporting

    graph, report = _graph_for(settings), None
    if graph != source:
        report = _write_graph(settings, graph, warn, stages)
        tell(_told(given, graph, report))
    if builds and output is not None:
        build = BuildSettings(settings.target, settings.capabilities, settings.workspace)
        build_and_tell(graph, output, build, settings.proof_frames or PARITY_FRAMES, tell, warn, stages)
    if settings.triton is not None:
        from vmdepth_export.triton import write_repository

        folder = write_repository(graph, settings.triton)
        tell(f"{folder}: for 'tritonserver --model-repository={settings.triton}'")
    return report


def _check_output(settings: ExportSettings) -> None:
    """Raise InputError for settings that no source makes good; before one is downloaded."""
    output = settings.output
    check_asked(settings.causal, [settings.source])
    if settings.causal is not None and settings.temporal not in (None, form_of(settings.causal)):
        raise InputError(f"{flag(settings.causal)} and --temporal {settings.temporal}: are two forms; give one of them")
    if settings.proof_frames is not None and settings.proof_frames < 1:
        raise InputError(f"--proof-frames {settings.proof_frames}: a proof takes at least one frame")
    if output is None and settings.triton is None:
        raise InputError("say where it goes: -o model.onnx, -o model.engine or --triton DIR")
    if output is not None and output.suffix not in (".onnx", ".engine"):
        raise InputError(f"{output}: the output should end in .onnx or .engine")


def _check_source(settings: ExportSettings) -> None:
    """Raise InputError for settings that do not go with the source, and an output that cannot be written."""
    source, output = settings.source, settings.output
    if source.suffix != ".onnx" and not source.is_file():  # not after PyTorch has been loaded
        raise InputError(f"{source}: {'is a folder, not a checkpoint' if source.is_dir() else 'no such file'}")
    if source.suffix == ".onnx":
        if not source.is_file():
            what = "is a folder, not a step graph" if source.is_dir() else "no such file"
            raise InputError(f"{source}: {what}; make one with 'vmdepth-export CHECKPOINT -o model.onnx'")
        given = [name for name in _OF_CHECKPOINTS if getattr(settings, name) not in (None, False)]
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')}: is chosen when a checkpoint is exported; {source} is a graph already"
            )
        if settings.precision is None and output is not None and output.suffix == ".onnx":
            raise InputError(f"{source}: is a graph already; say in which --precision {output} should be")
    if output is not None:
        check_target(output, source)


def _check_builder(settings: ExportSettings, source: Path) -> None:
    """Raise InputError, with what to do on which machine, where an engine cannot be made here.

    source: the file that the settings' own is.
    """
    from vmdepth_export.engine import find_builder

    if source.suffix == ".onnx":
        find_builder(settings.target)
        return
    assert settings.output is not None
    engine = Path(settings.output.name)
    graph = engine.with_suffix(".onnx")
    options = " and the options given here" if any(getattr(settings, name) for name in _OF_GRAPHS) else ""
    first = f"'vmdepth-export {quote(str(settings.source))} -o {quote(str(graph))}'{options}"
    then = f"'vmdepth-export {quote(str(graph))} -o {quote(str(engine))}'"
    find_builder(settings.target, f"make its step graph here with {first}, then the engine on the device with {then}")
    if find_spec("torch") is None:
        raise InputError(
            f"{settings.source}: only PyTorch reads a checkpoint, and here is none; make its step graph where there is "
            f"with {first}, then the engine here with {then}; or install it: pip install 'vmdepth[export]'"
        )


def _graph_for(settings: ExportSettings) -> Path:
    """The step graph that the rest is made from: the source itself, the output, or one beside an engine."""
    source, output = settings.source, settings.output
    if output is not None and output.suffix == ".onnx":
        return output
    if source.suffix == ".onnx" and settings.precision is None:
        return source
    if output is None:
        raise InputError("--triton takes a step graph as it is; export it first with -o model.onnx")
    # A name of its own beside graphs that may be there already.
    graph = output.with_suffix(".onnx" if source.suffix != ".onnx" else f".{settings.precision}.onnx")
    check_target(graph, source)
    return graph


def _write_graph(settings: ExportSettings, graph: Path, warn: Callable[[str], None], stages: Stages) -> ParityReport:
    begun = perf_counter()
    precision, frames = settings.precision or PRECISION, settings.proof_frames
    if settings.source.suffix == ".onnx":
        return bake_step_graph(settings.source, graph, precision, frames=frames, stages=stages)

    with stages.stage(f"loads {settings.source.name}"):  # and PyTorch, which takes longer
        from vmdepth.checkpoint import load_stepping

        load = partial(load_stepping, dynamic_mask=settings.dynamic_mask)
        if settings.temporal is None:
            model = load_asked(load, settings.source, settings.causal, warn, settings.window)
        else:
            model = load(settings.source, settings.temporal, settings.window)
        check_steps(settings.source, model)
    height, width = settings.size or model.usual_size
    return export_step_graph(
        model,
        graph,
        height,
        width,
        streams=settings.streams or STREAMS,
        frames=frames,
        precision=precision,
        attention=settings.attention or ATTENTION,
        stages=stages,
        begun=begun,
    )


def _told(settings: ExportSettings, graph: Path, report: ParityReport) -> str:
    from vmdepth_export.graph import read_step_graph
    from vmdepth_export.info.models import depth_meaning

    _, contract = read_step_graph(graph)
    short = settings.proof_frames is None and report.frames < PARITY_FRAMES
    more = f" (as many as the time of the export allows; --proof-frames {PARITY_FRAMES} for all)" if short else ""
    extra = "".join(f", {name}" for name in contract.extra_outputs)
    others = [f"{name} {report.worst[name]:.1e}" for name in contract.extra_outputs]
    others += [f"states {report.states:.1e}"] if contract.states else []
    return (
        f"{graph}: {contract.height}x{contract.width}, {report.precision}, {depth_meaning(contract)}{extra}, "
        f"{graph.stat().st_size / 1e6:.1f} MB; agrees with {settings.source} over {report.frames} frames{more}: "
        f"{', '.join([f'depth {report.depth.largest:.1e}', *others])} of {'their' if others else 'its'} range"
    )
