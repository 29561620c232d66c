"""What a run refuses before anything is written."""

from __future__ import annotations

from pathlib import Path

from vmdepth_runtime.atomic_files import check_target
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.stream import MIN_SIDE
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.sessions.engine_sidecar import read_sidecar
from vmdepth_runtime.sinks.open import check_output
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.uri import local_path, short_name


def outputs_of(settings: RunSettings) -> list[tuple[str, ...]]:
    """The outputs of each source."""
    if not settings.outputs:
        return [(f"{short_name(source)}.depth.mp4",) for source in settings.sources]
    return [
        tuple(output.replace("{}", str(number)) for output in settings.outputs)
        for number in range(len(settings.sources))
    ]


def check_outputs(settings: RunSettings, outputs: list[tuple[str, ...]]) -> None:
    """Raise InputError unless all outputs and the report can be written without harm to the sources or each other.

    outputs: those of each source. Touches nothing.
    """
    has_camera = settings.fov is not None or settings.intrinsics is not None
    sources = [path for source in settings.sources if (path := local_path(source)) is not None]
    for of_source in outputs:
        for output in of_source:
            check_output(output, sources, has_camera=has_camera)
    if settings.report is not None:
        check_target(settings.report)
        for source in sources:
            check_target(settings.report, source)
    names = [output for of_source in outputs for output in of_source]
    names += [str(settings.report)] if settings.report is not None else []
    paths = [Path(name).resolve() for name in names]
    for name, path in zip(names, paths, strict=True):
        if paths.count(path) > 1:
            way_out = "give each its own name"
            if len(settings.sources) > 1 and settings.outputs.count(name) == 1:
                way_out = "with several sources put {} where their number goes, as in cam{}.mp4"
            raise InputError(f"{name}: is named as an output twice; {way_out}")


def check_model(settings: RunSettings, contract: StepContract) -> None:
    """Raise InputError unless the model takes as many streams as there are sources, and is made for the back end."""
    model, count = settings.model, len(settings.sources)
    if contract.streams != count:
        raise InputError(
            f"{model}: made for {_number(contract.streams, 'stream')} at once, and given {_number(count, 'source')}; "
            f"export it again with '--streams {count}'"
        )
    backend = read_sidecar(model)[1].target if model.suffix == ".engine" else "onnxruntime"
    if settings.backend not in ("auto", backend):
        raise InputError(f"--backend {settings.backend}: {model} is made for {backend}; 'vmdepth-export' makes others")


def check_size(source: Source) -> None:
    """Raise InputError for frames that are too small for any network."""
    width, height = source.info.width, source.info.height
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{source.name}: its frames are {width}x{height}; at least {MIN_SIDE}x{MIN_SIDE} is needed")


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
