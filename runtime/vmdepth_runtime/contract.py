"""The step graph's contract, version 1: the JSON object that a graph carries in `metadata_props["vmdepth"]`.

Exporter and session both speak through this module, so what one writes is what the other checks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC, EXTRA_OUTPUTS, OutputSpec, outputs_with

CONTRACT_VERSION = 1
METADATA_KEY = "vmdepth"
REBUILD = "export it again with 'vmdepth-export CHECKPOINT -o model.onnx'"  # ends every refusal of a step graph

Resize = Literal["area", "cubic"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
"""How pixels are weighed on the way to the model's size. "area" averages those it leaves out; "cubic", without
anti-aliasing, is how Depth Anything V2 and Video Depth Anything prepare their pictures."""

REGIONS = ("io", "encoder", "norms", "softmax", "projections", "recurrence", "decoder", "depth")
"""What precision is told of. io: normalisation of the frame, descriptor, change and counter of the states; norms and
softmax: wherever they are; projections: products in the temporal heads, recurrence: all else there, and what `dynamic`
is made of; depth: the last convolution of depth, confidence and sky and what follows, and the camera; encoder, decoder:
the rest of them."""

FRAME = "frame"
"""The graph's input that takes the frames: uint8 [B, H, W, 3] RGB."""


def state_input(name: str) -> str:
    """The graph's input that takes a state."""
    return f"state.{name}"


def state_output(name: str) -> str:
    """The graph's output that gives the next state."""
    return f"next.{name}"


DYNAMIC_STATES = f"{DYNAMIC}."
"""What the names of states begin with that only the output `dynamic` is made of."""


def of_the_scene(name: str) -> bool:
    """Whether a state is a memory of the scene, whose change says how much is new: the counter and what only `dynamic`
    is made of are none."""
    return name != "counter" and not name.startswith(DYNAMIC_STATES)


PRECISIONS = {"float32", "float16", "bfloat16", "int8", "float8"}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph. dtype: NumPy's name. shape: None for a length that is the model's own."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Ring:
    """How a state keeps one entry per frame, in `slots` slots along `axis`.

    The first frame fills every slot. The first `anchors` slots keep it for ever; the others take later frames in turn.
    """

    slots: int
    anchors: int
    axis: int

    def slot(self, frame: int) -> int | None:
        """Where the entry of a frame (number since the start or reset, from 0) goes; None means into every slot."""
        return None if frame == 0 else self.anchors + (frame - self.anchors) % (self.slots - self.anchors)


@dataclass(frozen=True)
class StateSpec:
    """One tensor the network remembers.

    Without a ring the state is recurrent: the output replaces the input. With one, the output is a single entry, which
    whoever holds the states writes into its slot. shape: of the input, the stream axis first.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    ring: Ring | None = None
    initial: float = 0.0

    @property
    def input_name(self) -> str:
        return state_input(self.name)

    @property
    def output_name(self) -> str:
        return state_output(self.name)

    @property
    def kind(self) -> str:
        """ "ring" or "recurrent"."""
        return "ring" if self.ring else "recurrent"

    @property
    def next_shape(self) -> tuple[int, ...]:
        """Shape of the output `next.<name>`: of a ring, without the slots."""
        if self.ring is None:
            return self.shape
        return self.shape[: self.ring.axis] + self.shape[self.ring.axis + 1 :]


@dataclass(frozen=True)
class KeyframeDefaults:
    """Where key-frame anchoring starts from; the runtime's options override it. They are explained in
    `vmdepth_runtime.depth.keyframe_settings.KeyframeSettings`."""

    capacity: int = 8
    interval: int = 30
    min_gap: int = 30
    similarity: float = 0.95
    max_state_change: float = 0.75


@dataclass(frozen=True)
class StepContract:
    """Everything a session must know about a step graph besides its nodes.

    ```python
    from vmdepth_runtime import DepthStream

    with DepthStream() as stream:
        contract = stream.contract
    print(contract.model, contract.height, contract.width, contract.depth_kind, [s.name for s in contract.states])
    ```

    Attributes:
        model: what the network is called.
        weights_hash: digest of the weights that it was made from.
        height: of the frame that the graph takes, pixels.
        width: likewise.
        states: what the network remembers, in the graph's order.
        streams: the batch B.
        resize: how a source frame becomes that size; "stretch" scales each axis on its own.
        depth_kind: what the depth means, a name of `vmdepth_runtime.depth_kinds.DEPTH_KINDS`.
        metric_focal: of a network whose depth is in metres for one camera alone, that camera's focal length in pixels
            of the graph's frame: for another, depth × focal length / metric_focal is. None where depth is as it is.
        metres: of a network without a unit whose depth the graph makes metres: "scale", "shift" (None of scaled
            depth) and "farthest", as `vmdepth_runtime.Metres` has them, and what they were measured on. Else empty.
        extra_outputs: names of `outputs.EXTRA_OUTPUTS` that the graph has.
        keyframes: where key-frame anchoring starts from.
        precision: region of the network -> dtype it computes in.
        producer: what wrote the graph.
        parity: range errors measured at conversion.
        version: of the contract; this runtime speaks `CONTRACT_VERSION`.
    """

    model: str
    weights_hash: str
    height: int
    width: int
    states: tuple[StateSpec, ...]
    streams: int = 1
    resize: str = "stretch"
    depth_kind: str = "relative"
    metric_focal: float | None = None
    metres: dict[str, Any] = field(default_factory=dict)
    extra_outputs: tuple[str, ...] = ()
    keyframes: KeyframeDefaults = field(default_factory=KeyframeDefaults)
    precision: dict[str, str] = field(default_factory=dict)
    producer: str = ""
    parity: dict[str, Any] = field(default_factory=dict)
    version: int = CONTRACT_VERSION

    @property
    def depth_meaning(self) -> DepthKind:
        """What `depth_kind` stands for."""
        return DEPTH_KINDS[self.depth_kind]

    @property
    def depth_unit(self) -> str | None:
        """ "m" for metric depth, None for any other."""
        return self.depth_meaning.unit

    @property
    def own_outputs(self) -> tuple[OutputSpec, ...]:
        """The outputs beside the next states, in the graph's order."""
        return outputs_with(self.extra_outputs)

    @property
    def state_bytes(self) -> int:
        """Bytes of one set of states."""
        return sum(_DTYPE_BYTES[s.dtype] * _product(s.shape) for s in self.states)

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Every input of the graph, in its order."""
        frame = TensorSpec("uint8", (self.streams, self.height, self.width, 3))
        return {FRAME: frame, **{s.input_name: TensorSpec(s.dtype, s.shape) for s in self.states}}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Every output of the graph, in its order: `own_outputs`, then the next states."""
        sizes = {"streams": self.streams, "height": self.height, "width": self.width}
        own = {o.name: TensorSpec(o.dtype, tuple(map(sizes.get, o.axes))) for o in self.own_outputs}
        return {**own, **{s.output_name: TensorSpec(s.dtype, s.next_shape) for s in self.states}}

    def to_json(self) -> str:
        """The metadata. What only some networks have is left out of all others': runtimes that do not know a key refuse
        the file."""
        states = [{**asdict(state), "kind": state.kind} for state in self.states]
        raw = {**asdict(self), "states": states, "depth_unit": self.depth_unit}
        absent = {name for name in ("metric_focal", "metres", "extra_outputs") if not raw[name]}
        return json.dumps({key: value for key, value in raw.items() if key not in absent}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None, file: str, rebuild: str = REBUILD) -> StepContract:
        """Read a graph's metadata.

        Args:
            text: the JSON object; None where there is none.
            file: that it is from, for errors.
            rebuild: what they say is to be done.

        Raises:
            InputError: it is missing, broken or of another version; names the file.
        """
        if not text:
            raise InputError(f"{file}: not a vmdepth step graph (no '{METADATA_KEY}' metadata); {rebuild}")
        try:
            raw = json.loads(text)
            version = raw["version"]
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{file}: its '{METADATA_KEY}' metadata is not readable; {rebuild}") from None
        if version != CONTRACT_VERSION:
            raise InputError(
                f"{file}: made for contract version {version}, this runtime speaks {CONTRACT_VERSION}; {rebuild}"
            )
        try:
            raw.pop("depth_unit", None)
            states = tuple(_state(entry) for entry in raw.pop("states"))
            keyframes, extra = KeyframeDefaults(**raw.pop("keyframes")), tuple(raw.pop("extra_outputs", ()))
            contract = cls(states=states, keyframes=keyframes, extra_outputs=extra, **raw)
            contract._check()
        except (TypeError, LookupError, ValueError, AttributeError) as error:
            raise InputError(
                f"{file}: its '{METADATA_KEY}' metadata breaks the contract ({error}); {rebuild}"
            ) from None
        return contract

    def _check(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size {self.height}x{self.width} is no size")
        if self.depth_kind not in DEPTH_KINDS:
            raise ValueError(f"unknown depth kind '{self.depth_kind}'")
        if self.metric_focal is not None and not (self.depth_kind == "metric" and self.metric_focal > 0):
            raise ValueError(f"a focal length of {self.metric_focal} with depth of kind '{self.depth_kind}'")
        if self.metres and (self.depth_kind != "metric" or not {"scale", "shift", "farthest"} <= self.metres.keys()):
            raise ValueError(f"metres {self.metres} with depth of kind '{self.depth_kind}'")
        odd_outputs = set(self.extra_outputs) - {output.name for output in EXTRA_OUTPUTS}
        if odd_outputs:
            raise ValueError(f"unknown output '{min(odd_outputs)}'")
        unknown = self.precision.keys() - set(REGIONS)
        if unknown:
            raise ValueError(f"unknown region '{min(unknown)}'")
        odd = set(self.precision.values()) - PRECISIONS
        if odd:
            raise ValueError(f"unknown precision '{sorted(odd, key=str)[0]}'")
        if self.resize != "stretch":
            raise ValueError(f"unknown resize policy '{self.resize}'")
        for state in self.states:
            ring = state.ring
            if (
                state.dtype not in _DTYPE_BYTES
                or state.shape[0] != self.streams
                or (ring and not (ring.slots > ring.anchors >= 0 and state.shape[ring.axis] == ring.slots))
            ):
                raise ValueError(f"state '{state.name}' has dtype {state.dtype}, shape {state.shape}, {ring}")


def _state(entry: dict[str, Any]) -> StateSpec:
    kind, ring = entry.pop("kind"), entry.pop("ring", None)
    state = StateSpec(**{**entry, "shape": tuple(entry["shape"]), "ring": Ring(**ring) if ring else None})
    if kind != state.kind:
        raise ValueError(f"state '{state.name}' is of kind {kind}, but ring is {ring}")
    return state


_DTYPE_BYTES = {"float32": 4, "float16": 2}


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result
