"""A checkpoint as a session, so that whatever streams an exported graph streams it as well."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch

from vmdepth.causal import check_steps, flag, load_asked
from vmdepth.checkpoint import load_stepping, telling_what_moves, weights_hash
from vmdepth.model_files import CHECKPOINT_ENDINGS, no_model
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.step_graph import StepGraph
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.contract import REGIONS, StateSpec, StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sessions.base import StepOutputs, StepSession
from vmdepth_runtime.sessions.load import MODEL_ENDINGS, load_session
from vmdepth_runtime.sessions.state_buffers import HostMemory, StateBuffers


def contract_of(model: StepNetwork, height: int, width: int, streams: int) -> StepContract:
    """What a step graph of this network, made for this size, promises.

    Raises InputError for a size that cannot be, and for a bidirectional network, which has no step.
    """
    try:
        model.check_steps()
        shapes = model.state_shapes(streams, height, width)
    except ValueError as error:
        raise InputError(str(error)) from None
    return StepContract(
        model=model.name,
        weights_hash=weights_hash(model.weights_in),
        height=height,
        width=width,
        streams=streams,
        states=tuple(StateSpec(name, shape, ring=model.ring_of(name)) for name, shape in shapes.items()),
        depth_kind=model.depth_kind,
        metric_focal=model.metric_focal,
        extra_outputs=model.extra_outputs,
        precision=dict.fromkeys(REGIONS, "float32"),
    )


class TorchSession(StepSession):
    """A network in PyTorch, on the CPU, for one or several streams at once."""

    backend = "torch"

    def __init__(self, model: StepNetwork, height: int, width: int, streams: int = 1) -> None:
        self.model = model
        self.path = Path(model.name)
        self.contract = contract_of(model, height, width, streams)
        self.frame = np.zeros((streams, height, width, 3), np.uint8)
        self._graph = StepGraph(model, height, width)
        self.memory: HostMemory = HostMemory()
        self._states = StateBuffers(self.contract, self.memory)
        specs = self.contract.states
        self._inputs = [self._tensors(turn, {s.name: s.shape for s in specs}) for turn in self._states.inputs]
        self._next = [self._tensors(turn, {s.name: s.next_shape for s in specs}) for turn in self._states.outputs]

    @torch.inference_mode()
    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        turn = self._states.turn
        outputs, after = self._graph(torch.from_numpy(self.frame), self._inputs[turn])
        for name, state in after.items():
            self._next[turn][name].copy_(state)
        self._states.advance(idle)
        return {name: output.numpy() for name, output in outputs.items()}

    def close(self) -> None:
        return

    def _tensors(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> StateTensors:
        """Tensors that share the memory of the states' buffers."""
        return {
            name: torch.from_numpy(self.memory.view(addresses[name], shape, "float32"))
            for name, shape in shapes.items()
        }


def open_session(
    path: Path,
    like: StepContract | None = None,
    size: tuple[int, int] | None = None,
    *,
    causal: bool | None = None,
    warn: Callable[[str], None] = lambda line: None,
    device: str | None = None,
) -> StepSession:
    """A checkpoint, a step graph or an engine, ready to step.

    A checkpoint takes size, streams, form of attention over time and whether it tells what moves from `like`, else
    `size` (or its usual one), one stream and its own form. causal: the form that it has to have; warn: gets a line
    where it has no other. device: that a step graph or an engine runs on.
    Raises InputError, naming the file, when it is neither, cannot step or cannot have the form.
    """
    if path.suffix in MODEL_ENDINGS:
        return load_session(path, device=device)
    if path.suffix not in CHECKPOINT_ENDINGS:
        raise no_model(path)
    model = load_asked(load_stepping, path, causal, warn)
    asked = model.ring
    if like is None or causal is not None:
        check_steps(path, model)
    if like is None:
        return TorchSession(model, *(size or model.usual_size))
    ring = next((state.ring for state in like.states if state.ring), None)
    try:
        model = model.remembering(ring)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if causal is not None and asked and ring and asked.anchors != ring.anchors:
        raise InputError(
            f"{path}: {flag(causal)} is another form than that of {like.model}, which it is compared with; leave it out"
        )
    if DYNAMIC in like.extra_outputs and DYNAMIC not in model.extra_outputs:
        model = telling_what_moves(path, model)
    return TorchSession(model, like.height, like.width, like.streams)
