"""What every pass over a step graph needs: reading, checking and writing it, and which region a node belongs to.

No torch here: calibration works without it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, numpy_helper

from vmdepth_runtime.contract import METADATA_KEY, REBUILD, StepContract
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import DIGEST_KEY, check_digest, seal
from vmdepth_runtime.outputs import DYNAMIC

OPSET = 20  # the first with native Gelu and LayerNormalization
FUSED_OPSET = 23  # the first with an Attention operator
BF16_OPSET = 22  # the first whose convolutions take bfloat16; nothing else that we use means something new there

OUTSIDE = "graph"
"""The module of nodes that no part of the network holds, in their names."""

MOVES = {"Reshape", "Transpose", "Gather", "GatherND", "Slice", "Squeeze", "Unsqueeze", "Split", "Expand", "Identity"}
"""Operators that move numbers and compute nothing, so their result has the type of what goes in."""
_NORMS = {"LayerNormalization", "InstanceNormalization"}
_PRODUCTS = {"MatMul", "Conv"}
METRES = "decoder.metres"
"""The module of nodes that make metres of a network's depth (`vmdepth_calibrate.scale`)."""

_LAST = (".output_conv2.2", ".sky_output_conv2.2", ".sky_output_conv2.3", METRES)
"""Modules of the decoder that make depth, confidence and sky, in their unit."""


def read_step_graph(path: Path) -> tuple[onnx.ModelProto, StepContract]:
    """A step graph and its contract. Raises InputError, naming the file, for anything else."""
    try:
        proto = onnx.load(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make it with 'vmdepth-export CHECKPOINT -o model.onnx'") from None
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: refused, its weights lie outside its folder or are not there ({reason})") from None
    except Exception:  # protobuf's decoder has an error class of its own
        check_digest(path)  # a damaged graph is told as one
        raise InputError(f"{path}: not an ONNX file; make one with 'vmdepth-export CHECKPOINT -o model.onnx'") from None
    check_digest(path)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    return proto, StepContract.from_json(metadata.get(METADATA_KEY), str(path))


def with_contract(proto: onnx.ModelProto, contract: StepContract) -> onnx.ModelProto:
    """The graph itself, with the contract as its metadata."""
    onnx.helper.set_model_props(proto, {METADATA_KEY: contract.to_json()})
    return proto


def save_step_graph(proto: onnx.ModelProto, path: Path) -> None:
    """Write a graph with the digest of what is written, in place of one that it came with (see `integrity`)."""
    for entry in [entry for entry in proto.metadata_props if entry.key == DIGEST_KEY]:
        proto.metadata_props.remove(entry)
    content = proto.SerializeToString()
    with path.open("wb") as file:
        file.write(content)
        file.write(seal(content))


def region_of(node: NodeProto) -> str:
    """Which of the contract's regions a node belongs to, by its name `<module>/<operation>_<n>`.

    Raises InputError for a module that no region is known for.
    """
    module = node.name.rpartition("/")[0]
    part = module.partition(".")[0]
    if part == OUTSIDE:
        return "io"
    if part not in ("encoder", "heads", "decoder", "camera_decoder", DYNAMIC):
        raise InputError(f"node '{node.name}' is of no module that a region of the contract is known for; {REBUILD}")
    if node.op_type in _NORMS:
        return "norms"
    if node.op_type == "Softmax":
        return "softmax"
    if part == DYNAMIC:
        return "recurrence"
    if part == "heads":
        return "projections" if node.op_type in _PRODUCTS else "recurrence"
    if (
        part == "camera_decoder"
        or module.endswith(_LAST)
        or (module == "decoder" and node.op_type != "Resize" and node.op_type not in MOVES)
    ):
        return "depth"
    return part


def check(proto: onnx.ModelProto) -> None:
    """Raise ValueError unless the graph is valid, of our opset and free of control flow."""
    onnx.checker.check_model(proto, full_check=True)
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    if opsets.keys() != {""} or opsets[""] not in (OPSET, BF16_OPSET, FUSED_OPSET):
        raise ValueError(f"opsets {opsets} instead of {OPSET}, {BF16_OPSET} or {FUSED_OPSET}")
    flow = {node.op_type for node in proto.graph.node} & {"If", "Loop", "Scan"}
    if flow or proto.functions:
        raise ValueError(f"the graph has control flow or functions: {sorted(flow)}")


def element_types(proto: onnx.ModelProto) -> dict[str, int]:
    """Type of every tensor in a graph, by name."""
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    types = {weight.name: weight.data_type for weight in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    return types


def expand(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph in which every weight is float32 again: what `store_small` did, undone."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    weights = {weight.name: weight for weight in proto.graph.initializer}
    steps = {name.removesuffix(".step"): weights[name] for name in weights if name.endswith(".step")}
    for name, step in steps.items():
        numbers = weights.pop(f"{name}.int8")
        product = numpy_helper.to_array(numbers).astype(np.float32) * numpy_helper.to_array(weights.pop(step.name))
        weights[name] = numpy_helper.from_array(product, name)
    nodes = [node for node in proto.graph.node if not any(o.removesuffix(".cast") in steps for o in node.output)]
    for field, values in (("initializer", weights.values()), ("node", nodes)):
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(values)
    return proto
