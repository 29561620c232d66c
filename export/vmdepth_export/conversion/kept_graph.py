"""Step graphs of checkpoints that people run as they are: made once, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from vmdepth.model_files import CHECKPOINT_ENDINGS, has_motion_head, location, no_model
from vmdepth_export.stages import Stages
from vmdepth_runtime.cache_folder import cache_folder
from vmdepth_runtime.contract import CONTRACT_VERSION, StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import check_digest, file_hash

_DIGITS = 16  # of a digest in the name of a file


def step_graph_of(model: Path, size: tuple[int, int] | None, streams: int, dynamic_mask: bool = False) -> Path:
    """The step graph to run where a checkpoint was given, or a step graph of another size than is wanted.

    Of a checkpoint it is made, proven and kept, unless it is there already, whole. Of a step graph the cache may have
    one of the same weights. Files are named `<weights>-<H>x<W>-<streams>-<key>.onnx`.

    Args:
        model: The file that was given.
        size: Height and width; None is the network's usual one.
        streams: Videos in one batch.
        dynamic_mask: Whether what is made of a checkpoint tells what moves; that of one with a motion head always does.

    Raises:
        InputError: For what is no model, a size that cannot be, a step graph of which there is none at that size, and
            a cache that cannot be written to.
        WorkError: As `export` does.
    """
    if model.suffix == ".onnx" and size is not None:
        return _of_same_weights(model, size, streams)
    if model.suffix == ".engine":
        raise InputError(f"{model}: an engine takes frames of one size; build one of a step graph of the size you want")
    if model.suffix not in CHECKPOINT_ENDINGS:
        raise no_model(model)
    folder, key = cache_folder("step graph"), _key(model, size, streams, dynamic_mask)
    for kept in folder.glob(f"*-{key}.onnx"):
        if _whole(kept):
            return kept
    return _make(model, size, streams, dynamic_mask, folder, key)


def _make(model: Path, size: tuple[int, int] | None, streams: int, dynamic_mask: bool, folder: Path, key: str) -> Path:
    from vmdepth_export.conversion.convert import export
    from vmdepth_export.conversion.settings import ExportSettings
    from vmdepth_export.graph import read_step_graph

    part = folder / f".{key}.{os.getpid()}.onnx"  # two commands may make the same at once
    try:
        settings = ExportSettings(model, part, size=size, streams=streams, dynamic_mask=dynamic_mask)
        report = export(settings, stages=Stages("vmdepth"))
        assert report is not None
        _, contract = read_step_graph(part)
        kept = part.replace(folder / f"{_place(contract)}-{key}.onnx")
    finally:
        part.unlink(missing_ok=True)
    print(
        f"vmdepth: made {kept} of {model}, proven over {report.frames} frames; kept for the next time", file=sys.stderr
    )
    return kept


def _of_same_weights(model: Path, size: tuple[int, int], streams: int) -> Path:
    from vmdepth_export.graph import read_step_graph

    height, width = size
    _, own = read_step_graph(model)
    for kept in cache_folder("step graph").glob(f"{_place(own, height, width, streams)}-*.onnx"):
        if _whole(kept) and _form(read_step_graph(kept)[1]) == _form(own):
            return kept
    wanted = f"{height}x{width}"
    raise InputError(
        f"{model}: takes frames of {own.height}x{own.width}, and no graph of its weights for {wanted} has been kept; "
        f"make one with 'vmdepth-export CHECKPOINT -o {model.stem}.{wanted}.onnx --size {wanted}', or give the "
        "checkpoint as the model"
    )


def _key(model: Path, size: tuple[int, int] | None, streams: int, dynamic_mask: bool) -> str:
    """Of all that decides what the graph will be: weights, form, size, outputs, precision, and what makes it.

    Form and precision are the defaults of this version. Whether depth is in metres is not in the weights: official
    names tell it, or Hugging Face's settings beside the file.
    """
    beside = model.with_name("config.json")
    said = location(model), beside.read_text(errors="replace") if beside.is_file() else ""
    tells = dynamic_mask or has_motion_head(model)
    metric = [text for text in said if "metric" in text]
    facts = [file_hash(model), metric, size, streams, tells, CONTRACT_VERSION, version("vmdepth")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:_DIGITS]


def _place(
    contract: StepContract, height: int | None = None, width: int | None = None, streams: int | None = None
) -> str:
    weights = contract.weights_hash.removeprefix("sha256:")[:_DIGITS]
    return f"{weights}-{height or contract.height}x{width or contract.width}-{streams or contract.streams}"


def _form(contract: StepContract) -> tuple[object, ...]:
    """What a graph is apart from its size."""
    states = [(state.name, state.dtype, state.ring) for state in contract.states]
    return contract.weights_hash, contract.depth_kind, contract.precision, states


def _whole(graph: Path) -> bool:
    try:
        return check_digest(graph)
    except InputError:
        return False
