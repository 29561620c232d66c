"""Which node of a graph is the first whose result differs: for people who have to find what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from vmdepth_export.graph import element_types, expand, read_step_graph
from vmdepth_export.metres import bake_metres
from vmdepth_export.parity.comparison import TOLERANCES, one_frame, precision_of, settled_depth
from vmdepth_export.parity.emulation import emulated
from vmdepth_export.parity.engine_probe import EngineProbe
from vmdepth_export.parity.frames import choose_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.parity.probe import Probe
from vmdepth_runtime.contract import StepContract, state_input
from vmdepth_runtime.depth.scale.metres import metres_of
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import file_hash
from vmdepth_runtime.outputs import OutputSpec
from vmdepth_runtime.sessions.engine_sidecar import read_sidecar
from vmdepth_runtime.sessions.gpu import find_gpu
from vmdepth_runtime.sessions.load import MODEL_ENDINGS, load_session

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.base import StepSession

ProbeMaker = Callable[[Sequence[str]], Callable[..., dict[str, NDArray[Any]]]]
"""Tensors → what computes them for a frame and states: see `Probe`."""

_READ = (TensorProto.FLOAT, TensorProto.FLOAT16)  # types of tensors that both kinds of probes can hand over
_AT_ONCE = 64  # tensors kept in memory together
_NOTHING = "no inner tensor differs, only the outputs: what the graphs are fed differs"
NOTHING_INSIDE = (
    "no inner tensor differs in engines that give their inner tensors out, only the outputs of the engine as it is: a "
    "fault of a fusion can vanish that way (reported of TensorRT on Thor); take another version of TensorRT "
    "(docs/engines.md, known faults), or build as fp32"
)


def first_divergence(
    reference: Path,
    candidate: Path,
    source: str | None,
    frames: int,
    causal: bool | None = None,
    topic: str | None = None,
) -> str:
    """One line: the first frame, and in graph order the first node of the candidate, that is out of tolerance.

    Both run from their initial states, each with its own, until an output differs; of that frame every tensor that the
    two graphs share is compared. A graph without a unit is first given the metres of the other. Of an engine, the step
    graph that it was built from is looked at first, in ONNX Runtime; where that is right, engines of the same graph
    that give their inner tensors out.
    """
    second, contract = graph_of(candidate, None if candidate.suffix in MODEL_ENDINGS else reference, causal)
    first, other = graph_of(reference, candidate, causal)
    first, other = _in_unit_of(contract, first, other)
    second, contract = _in_unit_of(other, second, contract)
    limit = max((precision_of(c) for c in (other, contract)), key=list(TOLERANCES).index)
    shapes = [{(s.name, s.shape) for s in c.states} for c in (contract, other)]
    odd = {state_input(name) for name, _ in shapes[0] ^ shapes[1]}
    if odd:
        for proto, path in ((second, candidate), (first, reference)):
            for node in proto.graph.node:
                if odd & set(node.input):
                    return f"first divergence: {node.name} of {path} reads {sorted(odd & set(node.input))[0]}"
    runnable = [expand(emulated(proto)) for proto in (first, second)]
    probes: list[ProbeMaker] = [partial(Probe, proto) for proto in runnable]
    sessions: list[StepSession] = [open_graph(proto) for proto in (first, second)]
    found = _first_frame(sessions, choose_frames(source, frames, contract, topic), limit)
    if found is not None:
        known = [element_types(proto) for proto in runnable]
        return find_culprit(second, known, probes, found, limit, nothing=_NOTHING)
    engine = next((path for path in (candidate, reference) if path.suffix == ".engine"), None)
    if engine is None:
        return (
            f"in ONNX Runtime no output of any one of {frames} frames is out of tolerance: what differs is how the "
            "sides are run, or shows over many frames only"
        )
    return _inside(engine, source, frames, topic)


def _in_unit_of(
    made: StepContract, proto: onnx.ModelProto, contract: StepContract
) -> tuple[onnx.ModelProto, StepContract]:
    """A graph and its contract, in metres where it has no unit and another's contract says what makes those."""
    metres = metres_of(made)
    if metres is None or contract.depth_unit is not None:
        return proto, contract
    return bake_metres(proto, contract, metres, {})


def _inside(engine: Path, source: str | None, frames: int, topic: str | None) -> str:
    """An engine against the step graph it was built from: the step graphs agree, so what differs is its own."""
    _, facts = read_sidecar(engine)
    proto, contract = graph_of(engine, like=None)
    told = f"the step graphs agree in ONNX Runtime: what differs is what {engine.name} makes of its own"
    if find_gpu() is None:
        return f"{told}; on its device --bisect looks inside it"
    limit, plain = precision_of(contract), expand(proto)
    with open_graph(proto) as right, load_session(engine) as session:
        found = _first_frame([right, session], choose_frames(source, frames, contract, topic), limit)
    if found is None:
        return f"{told}, and against that no output of one frame differs over {frames} frames"
    probes: list[ProbeMaker] = [partial(Probe, expand(emulated(proto))), partial(EngineProbe, plain, facts=facts)]
    known = [element_types(expand(emulated(proto))), element_types(plain)]
    return find_culprit(plain, known, probes, found, limit, nothing=NOTHING_INSIDE)


def graph_of(path: Path, like: Path | None, causal: bool | None = None) -> tuple[onnx.ModelProto, StepContract]:
    """The step graph of a model: of an engine its source, of a checkpoint exported now, at the size of `like`."""
    if path.suffix == ".engine":
        _, facts = read_sidecar(path)
        source = path.with_name(Path(facts.source).name)
        if source.is_file() and file_hash(source) != facts.onnx_hash:
            raise InputError(f"{source}: is not the graph that {path.name} was built from; build the engine again")
        return read_step_graph(source)
    if path.suffix == ".onnx":
        return read_step_graph(path)
    from vmdepth.session import TorchSession, open_session
    from vmdepth_export.graph import with_contract
    from vmdepth_export.step_graph import to_onnx

    contract = graph_of(like, None)[1] if like is not None and like.suffix in MODEL_ENDINGS else None
    session = open_session(path, contract, causal=causal)
    assert isinstance(session, TorchSession)
    c = session.contract
    # As plain operations: of one operator the products inside could not be compared.
    proto = to_onnx(session.model, c.height, c.width, c.streams, "explicit")
    return with_contract(proto, session.contract), session.contract


def _step(session: StepSession, frame: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    session.frame[...] = frame
    return {**session.step(), **session.next_states()}


def _differs(
    reference: NDArray[Any], candidate: NDArray[Any], precision: str, output: OutputSpec | None = None
) -> bool:
    return bool(one_frame(reference, candidate, output).exceeds(replace(TOLERANCES[precision], growth=None)))


@dataclass(frozen=True)
class DivergentFrame:
    """A frame whose outputs differ, and the states of both models before it."""

    number: int
    frame: NDArray[np.uint8]
    before: list[dict[str, NDArray[Any]]]


def _first_frame(
    sessions: list[StepSession], frames: Iterable[NDArray[np.uint8]], precision: str
) -> DivergentFrame | None:
    outputs = {output.name: output for output in sessions[0].contract.own_outputs}
    for number, frame in enumerate(frames):
        before = [session.states() for session in sessions]
        first, second = (_step(session, frame) for session in sessions)
        second["depth"] = settled_depth(first, second, TOLERANCES[precision])
        if any(_differs(first[name], second[name], precision, outputs.get(name)) for name in first):
            return DivergentFrame(number, frame, before)
    return None


def find_culprit(
    candidate: onnx.ModelProto,
    known: list[dict[str, int]],
    probes: Sequence[ProbeMaker],
    found: DivergentFrame,
    precision: str,
    *,
    nothing: str,
) -> str:
    """The first tensor, in the candidate's order, that both models have and that differs.

    known: tensor → type, of both models. probes: what reads inner tensors of both. nothing: what to say when no inner
    tensor differs.
    """
    floats = {name for name, dtype in known[0].items() if dtype == TensorProto.FLOAT and known[1].get(name) in _READ}
    makers = {name: node for node in candidate.graph.node for name in node.output if name in floats}
    names = list(makers)
    told = f"first divergence at frame {found.number}: "
    for first in range(0, len(names), _AT_ONCE):
        part = names[first : first + _AT_ONCE]
        ours, theirs = (probe(part)(found.frame, kept) for probe, kept in zip(probes, found.before, strict=True))
        for name in part:
            if ours[name].shape != theirs[name].shape:
                return f"{told}{makers[name].name} has shape {list(theirs[name].shape)}, not {list(ours[name].shape)}"
            if ours[name].size and _differs(ours[name], theirs[name], precision):
                figures = one_frame(ours[name], theirs[name])
                return (
                    f"{told}{makers[name].name} (tensor '{name}'), mean error {figures.mean:.1e}, largest "
                    f"{figures.largest:.1e} of its range"
                )
    return f"{told}{nothing}"
