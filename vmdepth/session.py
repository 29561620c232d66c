"""A checkpoint behind the runtime's session face, so that whatever streams an exported graph streams it as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.checkpoint import load_video, weights_hash
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.step_graph import StepGraph
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.contract import REGIONS, StateSpec, StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.load import MODEL_ENDINGS, load_session
from vmdepth_runtime.sessions.onnx import OnnxSession, StepOutput


def contract_of(model: VideoDepth, height: int, width: int, streams: int) -> StepContract:
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
        weights_hash=weights_hash(model),
        height=height,
        width=width,
        streams=streams,
        states=tuple(
            StateSpec(name, shape, ring=None if name == "counter" else model.ring) for name, shape in shapes.items()
        ),
        depth_kind=model.config.depth,
        precision=dict.fromkeys(REGIONS, "float32"),
    )


class TorchSession:
    """A network with the face of `OnnxSession`.

    That is `contract`, `frame`, `step()`, `written()`, `states()`, `reset()` and `close()`.
    """

    def __init__(self, model: VideoDepth, height: int, width: int, streams: int = 1) -> None:
        self.model = model
        self.contract = contract_of(model, height, width, streams)
        self.frame: NDArray[np.uint8] = np.zeros((streams, height, width, 3), np.uint8)
        self._graph = StepGraph(model, height, width)
        self._states: StateTensors
        self._written: StateTensors
        self.reset()

    @torch.inference_mode()
    def step(self) -> StepOutput:
        depth, descriptor, change, self._written = self._graph(torch.from_numpy(self.frame), self._states)
        for spec in self.contract.states:
            if spec.ring is None:
                self._states[spec.name] = self._written[spec.name]
            else:
                _write_entry(self._states[spec.name], self._written[spec.name], spec, self._frame)
        self._frame += 1
        return StepOutput(depth.numpy(), descriptor.numpy(), change.numpy())

    def written(self) -> dict[str, NDArray[np.float32]]:
        return {name: tensor.numpy() for name, tensor in self._written.items()}

    def states(self) -> dict[str, NDArray[np.float32]]:
        return {name: tensor.numpy().copy() for name, tensor in self._states.items()}

    def reset(self) -> None:
        self._states = {spec.name: torch.full(spec.shape, spec.initial) for spec in self.contract.states}
        self._frame = 0

    def close(self) -> None:
        pass


def _write_entry(ring: torch.Tensor, entry: torch.Tensor, spec: StateSpec, frame: int) -> None:
    """Write a frame's entry [...] into its slot of a ring state [..., slots, ...], in place.

    frame: number since the reset, from 0.
    """
    assert spec.ring is not None
    slot = spec.ring.slot(frame)
    if slot is None:
        ring.copy_(entry.unsqueeze(spec.ring.axis).expand_as(ring))
    else:
        ring.select(spec.ring.axis, slot).copy_(entry)


if TYPE_CHECKING:
    from vmdepth_runtime.sessions.tensorrt import TensorrtSession

    Session = OnnxSession | TensorrtSession | TorchSession


def open_session(path: Path, like: StepContract | None = None, size: tuple[int, int] | None = None) -> Session:
    """A checkpoint, a step graph or an engine, ready to step.

    A checkpoint takes size, streams and form of attention over time from `like`, else `size` (or its usual
    one), one stream and its own form. Raises InputError, naming the file, when it is neither or cannot step.
    """
    if path.suffix in MODEL_ENDINGS:
        return load_session(path)
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise InputError(
            f"{path}: should be a checkpoint (.safetensors, .pth), a step graph (.onnx) or an engine (.engine)"
        )
    model = load_video(path)
    if like is None:
        return TorchSession(model, *(size or model.config.usual_size))
    ring = next((state.ring for state in like.states if state.ring), None)
    try:
        model = model.with_head(model.config.head.like(ring))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return TorchSession(model, like.height, like.width, like.streams)
