"""A model as people give it: a step graph, an engine, or a checkpoint, of which a step graph is made once and kept.

Any of them may be a file here, or a name by which it is downloaded. The packages that know names and checkpoints
register themselves as entry points of the group "vmdepth.models", and nothing here imports them: the runtime works
without.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.load import MODEL_ENDINGS, load_session

GROUP = "vmdepth.models"

Size = tuple[int, int]
"""Height and width of the frames that a model takes, pixels."""


def open_model(
    model: str | Path,
    size: Size | None = None,
    streams: int = 1,
    *,
    threads: int | None = None,
    device: str | None = None,
    spin: bool = False,
    verify: bool = True,
    dynamic_mask: bool = False,
) -> StepSession:
    """A model that is ready to step.

    Args:
        model: A step graph, an engine, or a checkpoint, of which a step graph is made and kept in the user's cache; the
            next time it is there. Or the name of one on Hugging Face (see `local_file`).
        size: That frames are brought to; None is the model's own.
        streams: That a step graph of a checkpoint is made for.
        threads: For one step on the CPU; None takes all cores.
        device: As `Device.named` reads it; None takes the first GPU where it can.
        spin: Whether threads of ONNX Runtime that wait for work keep their cores busy.
        verify: Compare the model's file with its digest first.
        dynamic_mask: Whether it has to tell what moves (`dynamic`); of a checkpoint a step graph is made that does.

    Raises:
        InputError: It cannot run here, is of another size and cannot be had at this one, does not tell what moves where
            it has to, or is a checkpoint and what reads it is not installed.
        WorkError: The step graph that was made of a checkpoint does not agree with it, or cannot be written.
    """
    if device is not None:
        Device.named(device)  # before anything is downloaded or exported
    path = local_file(model)
    if path.suffix in MODEL_ENDINGS or not os.path.exists(path):  # noqa: PTH110 (which never raises)
        session = load_session(path, threads, device, spin=spin, verify=verify)
        own = session.contract
        if size is None or size == (own.height, own.width):
            return _telling(session) if dynamic_mask else session
        session.close()
        if path == bundled.MODEL:
            raise InputError(
                f"the bundled model takes frames of {own.height}x{own.width}, and its checkpoint is not part of the "
                f"package; for {size[0]}x{size[1]} give a checkpoint, or a step graph of that size, as the model"
            )
    graph = registered("step-graph", path, size, streams, dynamic_mask)
    session = load_session(graph, threads, device, spin=spin, verify=verify)
    return _telling(session) if dynamic_mask else session


def _telling(session: StepSession) -> StepSession:
    """The session; closed, and refused, where its model does not tell what moves."""
    if DYNAMIC not in session.contract.extra_outputs:
        session.close()
        raise InputError(
            f"{session.path}: does not tell what moves; give a checkpoint, or a graph that does, which "
            "'vmdepth-export CHECKPOINT --dynamic-mask' makes"
        )
    return session


def local_file(model: str | Path) -> Path:
    """The file of a model that may be given by name: `owner/name[@revision][:file]` is downloaded once and kept.

    A path, also of what is not there, comes back as it is. Raises InputError for a name that nobody knows, and where
    the file cannot be had.
    """
    if os.path.exists(model) or not list(entry_points(group=GROUP, name="local-file")):  # noqa: PTH110 (never raises)
        return Path(model)
    path = registered("local-file", Path(model))
    assert isinstance(path, Path)
    return path


def registered(name: str, model: Path, *arguments: Any) -> Any:
    """What the function that a package has registered under a name returns for a model.

    Raises InputError where there is none, or it lacks a library, with the line that installs it; and what it raises.
    """
    entries = list(entry_points(group=GROUP, name=name))
    missing: str | None = "vmdepth"
    try:
        if entries:
            return entries[0].load()(model, *arguments)
    except ModuleNotFoundError as error:
        missing = error.name
    raise InputError(
        f"{model}: what runs checkpoints needs '{missing}', which is not here: pip install 'vmdepth[export]'"
    )
