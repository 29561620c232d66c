"""Opens what is compared: a checkpoint, a step graph or an engine, by its ending."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx

from vmdepth_export.graph import read_step_graph
from vmdepth_export.parity.emulation import emulated
from vmdepth_export.parity.in_metres import in_one_unit
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.sessions.load import MODEL_ENDINGS, load_session
from vmdepth_runtime.sessions.onnx import OnnxSession

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.base import StepSession

_EMULATED = {"float16", "bfloat16", "float8"}


@contextmanager
def open_pair(
    reference: Path,
    candidate: Path,
    causal: bool | None = None,
    warn: Callable[[str], None] = lambda line: None,
    device: str | None = None,
) -> Iterator[tuple[StepSession, StepSession]]:
    """Both models of a comparison, ready to step, and in metres where one of them makes those of the other's depth.

    Checkpoints have no size of their own: they take that of the step graph or engine they are compared with. causal,
    warn: as `vmdepth.session.open_session` takes them. device: that the candidate runs on, a step graph as it is.
    Raises InputError for a file that is none of these.
    """
    with ExitStack() as opened:
        if candidate.suffix in MODEL_ENDINGS:
            second = opened.enter_context(
                open_model(candidate) if device is None else load_session(candidate, device=device)
            )
            first = opened.enter_context(open_model(reference, second.contract, causal, warn))
        else:
            first = opened.enter_context(open_model(reference, None, causal, warn))
            like = first.contract if reference.suffix in MODEL_ENDINGS else None
            second = opened.enter_context(open_model(candidate, like, causal, warn))
        yield in_one_unit(first, second)


def open_model(
    path: Path,
    like: StepContract | None = None,
    causal: bool | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> StepSession:
    """One model. like: what a checkpoint takes its size, streams and form of attention over time from."""
    if path.suffix == ".onnx":
        proto, contract = read_step_graph(path)
        if _EMULATED & set(contract.precision.values()):
            return open_graph(proto)
        return OnnxSession(path, verify=False)  # it has just been read whole, and its digest compared
    if path.suffix == ".engine":
        return load_session(path)
    from vmdepth.session import open_session  # which takes torch: a board has none

    return open_session(path, like, causal=causal, warn=warn)


def open_graph(proto: onnx.ModelProto) -> OnnxSession:
    """A step graph in memory, as ONNX Runtime's CPU can run it (see `emulation`)."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "emulated.onnx"
        onnx.save(emulated(proto), path)
        return OnnxSession(path, verify=False)  # it never lay anywhere, and may have the digest of what it was
