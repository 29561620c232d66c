"""A network's `step` as one ONNX graph that keeps the contract: plain operations, fixed shapes, states in and out."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter

import onnx
import torch
from torch import Tensor

from vmdepth.networks.attention import AttentionForm, use_attention
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.step_graph import StepGraph
from vmdepth.networks.step_network import StepNetwork
from vmdepth_export.graph import FUSED_OPSET, OPSET, OUTSIDE, check
from vmdepth_export.rewriting import quick_rewriting
from vmdepth_export.storage import store_small
from vmdepth_runtime.contract import FRAME, state_input, state_output
from vmdepth_runtime.outputs import outputs_with

_SCOPES = "pkg.torch.onnx.name_scopes"


class _FlatStepGraph(StepGraph):
    """`StepGraph` with its outputs in one row, as ONNX has them. own: names of those beside the states."""

    def __init__(self, model: StepNetwork, height: int, width: int) -> None:
        super().__init__(model, height, width)
        self.own = [output.name for output in outputs_with(model.extra_outputs)]

    def forward(self, frame: Tensor, states: StateTensors) -> tuple[Tensor, ...]:  # type: ignore[override]
        outputs, after = super().forward(frame, states)
        return *(outputs[name] for name in self.own), *after.values()


def to_onnx(model: StepNetwork, height: int, width: int, streams: int, attention: AttentionForm) -> onnx.ModelProto:
    """The step graph of a network, checked, without metadata of ours yet.

    attention: of the encoder, as plain operations or as one operator each. Weights that lie on a grid of 8 bits are
    stored as such. Node names tell the module they come from; the exporter's own notes (source paths, code) are taken
    out. Raises ValueError for a size that is no multiple of the encoder's stride.
    """
    graph = _FlatStepGraph(model, height, width).eval()
    states = model.init_states(streams, height, width)
    frame = torch.zeros(streams, height, width, 3, dtype=torch.uint8)
    # The exporter warns of other libraries' business (no torchvision, its own deprecations).
    for library in ("torch.onnx", "onnx_ir"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with torch.no_grad(), use_attention(attention), quick_rewriting(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            (frame,),
            kwargs={"states": states},
            dynamo=True,
            opset_version=OPSET if attention == "explicit" else FUSED_OPSET,
            input_names=[FRAME, *map(state_input, states)],
            output_names=[*graph.own, *map(state_output, states)],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _name_nodes(proto)
    _fold_pads(proto)
    store_small(proto)
    check(proto)
    return proto


def _name_nodes(proto: onnx.ModelProto) -> None:
    """Call every node `<module>/<operation>_<n>` and drop the exporter's notes: they hold paths and source code."""
    seen: Counter[str] = Counter()
    module_of_tensor: dict[str, str] = {}
    for node in proto.graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        # A node the exporter added without a note belongs where its input was made.
        module = _module_of(notes[_SCOPES]) if _SCOPES in notes else module_of_tensor.get(node.input[0], OUTSIDE)
        module_of_tensor.update(dict.fromkeys(node.output, module))
        kind = f"{module}/{node.op_type}"
        seen[kind] += 1
        node.name = f"{kind}_{seen[kind]}"
    graph = proto.graph
    for holder in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")


def _fold_pads(proto: onnx.ModelProto) -> None:
    """Let convolutions pad by themselves where zeros are put around what only they read: one operation, and no copy."""
    graph = proto.graph
    weights = {weight.name: weight for weight in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    pads = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Pad"
        and len(node.input) == 2
        and node.input[1] in weights
        and readers[node.output[0]] == 1
        and all(attribute.s == b"constant" for attribute in node.attribute if attribute.name == "mode")
    }
    for node in [node for node in graph.node if node.op_type == "Conv" and node.input[0] in pads]:
        pad = pads[node.input[0]]
        around = onnx.numpy_helper.to_array(weights[pad.input[1]]).reshape(2, -1)
        assert not around[:, :2].any()  # of images and channels
        (own,) = [attribute for attribute in node.attribute if attribute.name == "pads"]
        own.ints[:] = [int(a + b) for a, b in zip(own.ints, around[:, 2:].flatten(), strict=True)]
        node.input[0] = pad.input[0]
        graph.node.remove(pad)
        readers[pad.input[1]] -= 1
        if not readers[pad.input[1]]:
            graph.initializer.remove(weights[pad.input[1]])


def _module_of(scopes: str) -> str:
    """The innermost module in the exporter's list of scopes, as the network names it; "graph" outside of all."""
    scope = (name.removeprefix("model.") for name in ast.literal_eval(scopes) if name.startswith("model."))
    modules = [name.removeprefix("network.") for name in scope]
    return modules[-1] if modules else OUTSIDE
