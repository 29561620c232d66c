"""A Triton Inference Server model repository: many cameras served by one machine, each with states of its own.

Triton keeps the states itself, as implicit state of a sequence: `next.<name>` of one request is `state.<name>` of the
next with the same sequence id. A client sends frames and a sequence id and never sees a state.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmdepth_export.graph import read_step_graph
from vmdepth_runtime.contract import FRAME, StateSpec, StepContract
from vmdepth_runtime.errors import InputError, WorkError

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "float16": "TYPE_FP16"}
_IDLE_SECONDS = 30  # without a frame for so long, a camera is gone and its states are let go
_CAMERAS = 64  # that one instance keeps the states of


def write_repository(model: Path, root: Path) -> Path:
    """Write `root/<name>/config.pbtxt` and `root/<name>/1/model.onnx`; returns the model's folder.

    Raises InputError for a graph with ring states, of which Triton cannot keep only the new entry, and for a folder
    that is there already.
    """
    proto, contract = read_step_graph(model)
    if any(state.ring for state in contract.states):
        raise InputError(
            f"{model}: keeps rings of past frames, and Triton can only replace a state as a whole; export a model "
            "with Mamba heads or none"
        )
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in proto.graph.output
    }
    folder = root / model.stem
    if folder.exists():
        raise InputError(f"{folder}: is there already; remove it or choose another --triton folder")
    part = root / f".{model.stem}.part"
    try:
        (part / "1").mkdir(parents=True)
        shutil.copyfile(model, part / "1" / "model.onnx")
        (part / "config.pbtxt").write_text(config(model.stem, contract, shapes))
        part.rename(folder)
    except OSError as error:
        raise WorkError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def config(name: str, contract: StepContract, shapes: Mapping[str, Sequence[int]]) -> str:
    """The model's configuration, in protobuf's text form (message `inference.ModelConfig`).

    shapes: of every output of the graph. Batches are not Triton's to make: the graph's own is fixed
    (`max_batch_size: 0`).
    """
    frame = contract.inputs[FRAME]
    lines = [
        f'name: "{name}"',
        'backend: "onnxruntime"',
        "max_batch_size: 0",
        f"input [ {_tensor(FRAME, frame.dtype, frame.shape)} ]",
        *(f"output [ {_tensor(output.name, output.dtype, shapes[output.name])} ]" for output in contract.own_outputs),
    ]
    if contract.states:
        lines += [
            "sequence_batching {",
            f"  max_sequence_idle_microseconds: {_IDLE_SECONDS * 1_000_000}",
            # Without it an instance serves one camera until that ends.
            f"  oldest {{ max_candidate_sequences: {_CAMERAS} }}",
            *(f"  state [ {_state(state)} ]" for state in contract.states),
            "}",
        ]
    return "\n".join(lines) + "\n"


def _tensor(name: str, dtype: str, shape: Sequence[int | None]) -> str:
    return f'{{ name: "{name}" data_type: {_TYPES[dtype]} dims: {list(shape)} }}'


def _state(state: StateSpec) -> str:
    what = f"data_type: {_TYPES[state.dtype]} dims: {list(state.shape)}"
    start = f'initial_state: {{ name: "zero" {what} zero_data: true }}'
    return f'{{ input_name: "{state.input_name}" output_name: "{state.output_name}" {what} {start} }}'
