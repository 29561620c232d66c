"""A step graph loaded in ONNX Runtime, its states bound to buffers that stay where they are between frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import METADATA_KEY, REBUILD, StateSpec, StepContract
from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    import onnxruntime

_ONNX_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)", "float16": "tensor(float16)"}


@dataclass(frozen=True)
class StepOutput:
    """What one step gives: views onto the session's output buffers, which **the next step overwrites**.

    depth: float32 `[B, H, W]`, in the contract's depth kind. descriptor: float32 `[B, D]`, unit length.
    state_change: float32 `[B]`, ≥ 0, relative change of all states in this step.
    """

    depth: NDArray[np.float32]
    descriptor: NDArray[np.float32]
    state_change: NDArray[np.float32]


class OnnxSession:
    """A step graph on ONNX Runtime's CPU provider.

    Write a frame into `session.frame`, call `session.step()`, read the views it returns. The states live in two sets of
    buffers that swap roles at every step, so nothing is copied or allocated per frame. A ring state lives in one
    buffer, into which the frame's one entry is written after the step.

    path: the `.onnx` file. threads: how many threads one step may use; None leaves it to ONNX Runtime (all cores).
    Raises InputError when the file is missing, is no ONNX graph, or is not what its own contract says.

    Attributes: contract (`StepContract`); frame, uint8 `[B, H, W, 3]` RGB, the writable input buffer.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        self._session = _load(self.path, threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.contract = StepContract.from_json(metadata.get(METADATA_KEY), str(path))
        descriptor_size = _check_graph(self._session, self.contract, self.path)

        contract = self.contract
        batch = contract.streams
        self.frame, frame_value = _buffer((batch, contract.height, contract.width, 3), "uint8")
        depth, depth_value = _buffer((batch, contract.height, contract.width), "float32")
        descriptor, descriptor_value = _buffer((batch, descriptor_size), "float32")
        state_change, state_change_value = _buffer((batch,), "float32")
        self._output = StepOutput(depth, descriptor, state_change)

        recurrent = [state for state in contract.states if state.ring is None]
        rings = [state for state in contract.states if state.ring is not None]
        sets = [{state.name: _buffer(state.shape, state.dtype) for state in recurrent} for _ in range(2)]
        kept = {state.name: _buffer(state.shape, state.dtype) for state in rings}
        entries = {state.name: _buffer(state.next_shape, state.dtype) for state in rings}
        self._states = [{name: array for name, (array, _) in (one | kept).items()} for one in sets]
        self._entries = {name: array for name, (array, _) in entries.items()}
        self._bindings = []
        for read, write in ((sets[0], sets[1]), (sets[1], sets[0])):
            binding = self._session.io_binding()
            binding.bind_ortvalue_input("frame", frame_value)
            binding.bind_ortvalue_output("depth", depth_value)
            binding.bind_ortvalue_output("descriptor", descriptor_value)
            binding.bind_ortvalue_output("state_change", state_change_value)
            for name, (_, value) in (read | kept).items():
                binding.bind_ortvalue_input(f"state.{name}", value)
            for name, (_, value) in (write | entries).items():
                binding.bind_ortvalue_output(f"next.{name}", value)
            self._bindings.append(binding)
        self._rings = rings
        self._frame = 0  # since the reset: says which slot of a ring is next
        self._current = 0
        self.reset()

    def step(self) -> StepOutput:
        """Run the frame that lies in `self.frame` through the graph and advance the states by one frame."""
        self._session.run_with_iobinding(self._bindings[self._current])
        self._current = 1 - self._current
        for spec in self._rings:
            write_entry(self._states[0][spec.name], self._entries[spec.name], spec, self._frame)
        self._frame += 1
        return self._output

    def reset(self) -> None:
        """Forget everything seen: every state back to its initial value."""
        for spec in self.contract.states:
            self._states[self._current][spec.name].fill(spec.initial)
        self._frame = 0

    def written(self) -> dict[str, NDArray[Any]]:
        """What the last step wrote, by name: recurrent states, of rings the one entry. **Views**, as `StepOutput`."""
        return self._states[self._current] | self._entries

    def states(self) -> dict[str, NDArray[Any]]:
        """Copies of the states that the next step will read, by name, in the contract's shapes and dtypes."""
        return {name: array.copy() for name, array in self._states[self._current].items()}

    def set_states(self, states: dict[str, NDArray[Any]]) -> None:
        """Replace all states, matched by name.

        states: every state of the contract, in its shape. Raises ValueError on a missing or unknown name or a wrong
        shape, and for rings whose streams are at different frames; the states are then as they were.
        """
        current = self._states[self._current]
        if states.keys() != current.keys():
            missing, unknown = sorted(current.keys() - states.keys()), sorted(states.keys() - current.keys())
            raise ValueError(f"states do not match {self.path.name}: missing {missing}, unknown {unknown}")
        for name, array in states.items():
            if array.shape != current[name].shape:
                raise ValueError(f"state '{name}' has shape {array.shape}, {self.path.name} has {current[name].shape}")
        if self._rings:
            counter = states["counter"]
            if (counter != counter[0]).any():
                raise ValueError("the streams' counters differ; streams that share their rings' slots go in step")
            self._frame = int(counter[0])  # as good as the frame's number: their difference is whole rounds
        for name, array in states.items():
            np.copyto(current[name], array, casting="same_kind")

    def close(self) -> None:
        """Let go of the graph and its buffers; views already handed out stay readable."""
        self._bindings.clear()
        del self._session

    def __enter__(self) -> OnnxSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_entry(ring: Any, entry: Any, spec: StateSpec, frame: int) -> None:
    """Write a frame's entry [...] into its slot of a ring state [..., slots, ...], in place.

    ring, entry: NumPy arrays or PyTorch tensors. frame: number since the reset, from 0.
    """
    assert spec.ring is not None
    before = (slice(None),) * spec.ring.axis
    slot = spec.ring.slot(frame)
    if slot is None:
        ring[...] = entry[before + (None,)]  # noqa: RUF005 (a star here needs Python 3.11)
    else:
        ring[before + (slot,)] = entry  # noqa: RUF005


def _load(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise InputError(f"{path}: no such model file; make one with 'vmdepth-export CHECKPOINT -o model.onnx'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings about graph clean-up would break up the command's own stderr
    options.inter_op_num_threads = 1  # the graph is a chain; parallel branches would only fight for cores
    # Waiting threads would otherwise burn the cores that decoder and encoder need; where those are busy, a step takes
    # half as long again.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes share no base but Exception
        if "NOT_IMPLEMENTED" in str(error) or "float8" in str(error):
            raise InputError(
                f"{path}: computes in types that ONNX Runtime has no CPU kernels for (bfloat16 or float8); build an "
                f"engine of it with 'vmdepth-export {path} -o model.engine'"
            ) from None
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: ONNX Runtime cannot load it as a step graph ({reason}); {REBUILD}") from None


def _buffer(shape: tuple[int, ...], dtype: str) -> tuple[NDArray[Any], onnxruntime.OrtValue]:
    """An array and an OrtValue over the same memory."""
    import onnxruntime

    array = np.zeros(shape, dtype)
    return array, onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _check_graph(session: onnxruntime.InferenceSession, contract: StepContract, path: Path) -> int:
    """Compare the graph's inputs and outputs with its contract; return the descriptor's length D."""
    batch, height, width = contract.streams, contract.height, contract.width
    expected_inputs: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "frame": ("uint8", (batch, height, width, 3)),
        **{f"state.{s.name}": (s.dtype, s.shape) for s in contract.states},
    }
    expected_outputs: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "depth": ("float32", (batch, height, width)),
        "descriptor": ("float32", (batch, None)),  # its length is the model's own
        "state_change": ("float32", (batch,)),
        **{f"next.{s.name}": (s.dtype, s.next_shape) for s in contract.states},
    }
    for side, expected, found in (
        ("input", expected_inputs, {node.name: node for node in session.get_inputs()}),
        ("output", expected_outputs, {node.name: node for node in session.get_outputs()}),
    ):
        for name in sorted(expected.keys() | found.keys()):
            if name not in found:
                problem = f"has no {side} '{name}'"
            elif name not in expected:
                problem = f"has an {side} '{name}' its contract does not list"
            else:
                dtype, shape = expected[name]
                node = found[name]
                if node.type == _ONNX_TYPES[dtype] and _fits(node.shape, shape):
                    continue
                wanted = f"{dtype} {[size if size is not None else 'any' for size in shape]}"
                problem = f"has {side} '{name}' as {node.type} {node.shape}, its contract says {wanted}"
            raise InputError(f"{path}: {problem}; {REBUILD}")
    return int(next(node.shape[1] for node in session.get_outputs() if node.name == "descriptor"))


def _fits(found: list[int | str | None], wanted: tuple[int | None, ...]) -> bool:
    # A symbolic size comes as a string: buffers of a fixed size cannot be bound to it.
    return len(found) == len(wanted) and all(
        isinstance(f, int) and (w is None or f == w) for f, w in zip(found, wanted, strict=True)
    )
