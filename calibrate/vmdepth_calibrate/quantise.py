"""Explicit quantisation of a step graph: QuantizeLinear and DequantizeLinear around the layers that bear it.

Those are the linear layers and convolutions of encoder and decoder that gain by it. Norms, softmax, attention products,
residual sums, temporal heads, the first and the last convolutions stay as they are: quantised whole, vision
transformers are reported to fall from 85 % accuracy to 5 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from vmdepth_calibrate.ranges import Ranges
from vmdepth_calibrate.rounding import channel_axis, channel_steps
from vmdepth_export.graph import check, region_of
from vmdepth_runtime.contract import StepContract

QuantisationForm = Literal["tensorrt", "cpu"]  # what the quantised graph is for: see `quantise`
QuantisedPrecision = Literal["int8", "fp8"]
_LARGEST_E4M3 = 448.0
_CLIPS = ("Relu", "Clip")
_MEANS = ("ReduceMean", "GlobalAveragePool")
_FEW_CHANNELS = 16


def layers(proto: onnx.ModelProto) -> list[NodeProto]:
    """The nodes that can be quantised and gain by it, in the order of the graph."""
    weights = {weight.name: weight for weight in proto.graph.initializer}
    makers = {name: node for node in proto.graph.node for name in node.output}
    found: dict[str, NodeProto] = {}  # by what they give, with a ReLU or ReLU6 or without
    for node in proto.graph.node:
        if node.op_type in _CLIPS and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
        elif node.op_type in ("Conv", "MatMul") and node.input[1] in weights:
            rounded, maker = node.input[0] in found, makers.get(node.input[0])
            gains = node.op_type == "MatMul" or _gains(list(weights[node.input[1]].dims), rounded, maker)
            if gains and region_of(node) in ("encoder", "decoder"):
                found[node.output[0]] = node
    return list({node.name: node for node in found.values()}.values())


def _gains(weight: list[int], rounded: bool, maker: NodeProto | None) -> bool:
    """Whether a convolution is faster in INT8. rounded: whether it reads 8 bits anyway; maker: what gives its input.

    The first and last ones of a network have so few channels that rounding and gathering their inputs takes more time
    than faster products save; so has a depthwise one whose input is not rounded yet. One that reads a mean over the
    picture is next to no work, and its range rests on a single place of each frame. In these, errors weigh most.
    """
    outputs, inputs = weight[:2]
    if maker is not None and maker.op_type in _MEANS:
        return False
    return rounded if inputs == 1 else outputs > _FEW_CHANNELS and inputs >= _FEW_CHANNELS


def clips(proto: onnx.ModelProto, found: Iterable[NodeProto]) -> list[NodeProto]:
    """The ReLU and ReLU6 right after those layers: a range from 0 to their largest value does their work."""
    given = {node.output[0] for node in found}
    return [node for node in proto.graph.node if node.op_type in _CLIPS and node.input[0] in given]


def watched_tensors(proto: onnx.ModelProto, form: QuantisationForm) -> list[str]:
    """The activations whose ranges are needed: what the layers read, and on the CPU also what they give."""
    found = layers(proto)
    names = [node.input[0] for node in found]
    if form == "cpu":
        names += [node.output[0] for node in (*found, *clips(proto, found))]
    return list(dict.fromkeys(names))


def quantise(
    proto: onnx.ModelProto,
    contract: StepContract,
    ranges: Ranges,
    chosen: Collection[str],
    form: QuantisationForm,
    precision: QuantisedPrecision,
) -> tuple[onnx.ModelProto, StepContract]:
    """A copy of a float32 step graph with the layers of the names in `chosen` quantised, and its contract.

    Weights are symmetric, one scale per output channel. form "tensorrt": activations symmetric too, S8S8, biases as
    they are, outputs unquantised. "cpu": activations U8 with a zero point, biases quantised as well, and outputs, after
    a ReLU or ReLU6 where one follows, which that replaces: the form for which ONNX Runtime has kernels. precision
    "fp8": E4M3 (Micikevicius et al. 2022), form "tensorrt" only.
    """
    for_gpu = form == "tensorrt"
    after = [] if for_gpu else clips(proto, (node for node in layers(proto) if node.name in chosen))
    quantiser = QDQQuantizer(
        onnx.shape_inference.infer_shapes(proto),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if for_gpu else QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax,
            {
                name: TensorData(lowest=np.float32(low), highest=np.float32(high))
                for name, (low, high) in ranges.items()
            },
        ),
        nodes_to_quantize=[*chosen, *(node.name for node in after)],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "MatMul", *_CLIPS],
        extra_options={
            "ActivationSymmetric": for_gpu,
            "WeightSymmetric": True,
            "QuantizeBias": not for_gpu,
            "OpTypesToExcludeOutputQuantization": ["Conv", "MatMul"] if for_gpu else [],
            "DedicatedQDQPair": for_gpu,  # TensorRT fuses a pair with the one layer that reads it
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1, "Conv": 0},
            "TensorQuantOverrides": _weight_ranges(proto, chosen) if precision == "int8" else {},
        },
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    result = quantiser.model.model
    if precision == "fp8":
        _as_fp8(result, {weight.name: weight for weight in proto.graph.initializer})
    _read_exact(result, {*chosen, *(node.name for node in after)}, keep_outputs=not for_gpu)
    _name_nodes(result)
    result.graph.ClearField("value_info")
    check(result)
    name = {"int8": "int8", "fp8": "float8"}[precision]
    regions = {region_of(node) for node in layers(proto) if node.name in chosen}
    return result, replace(contract, precision={**contract.precision, **dict.fromkeys(regions, name)}, parity={})


def _weight_ranges(proto: onnx.ModelProto, chosen: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """What every output channel of every weight is quantised by (see `channel_steps`), as ONNX Runtime asks for it."""
    weights = {weight.name: weight for weight in proto.graph.initializer}
    found = {}
    for node in layers(proto):
        if node.name in chosen:
            axis = channel_axis(node)
            reach = 127 * channel_steps(numpy_helper.to_array(weights[node.input[1]]), axis)
            found[node.input[1]] = [{"axis": axis, "rmin": -end, "rmax": end} for end in map(float, reach)]
    return found


def _as_fp8(proto: onnx.ModelProto, exact: dict[str, TensorProto]) -> None:
    """Turn symmetric INT8 into E4M3 in place: the same ranges, 448 instead of 127 as the largest number.

    exact: the float32 weights by name.
    """
    zero_points, scales, weights = set(), set(), {}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales.add(node.input[1])
            zero_points.add(node.input[2])
            name = node.input[0].removesuffix("_quantized")
            if name in exact and name != node.input[0]:
                axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
                weights[node.input[0]] = (name, node.input[1], axis)
    values = {entry.name: numpy_helper.to_array(entry) for entry in proto.graph.initializer}
    for entry in proto.graph.initializer:
        if entry.name in scales:
            values[entry.name] = values[entry.name] * np.float32(127 / _LARGEST_E4M3)
        elif entry.name in zero_points:
            values[entry.name] = np.zeros(entry.dims, ml_dtypes.float8_e4m3fn)
    for stored, (name, scale, axis) in weights.items():
        weight = numpy_helper.to_array(exact[name])
        shape = [1] * weight.ndim
        if axis is not None:
            shape[axis] = -1
        values[stored] = (weight / values[scale].reshape(shape)).astype(ml_dtypes.float8_e4m3fn)
    for entry in proto.graph.initializer:
        if entry.name in scales or entry.name in zero_points or entry.name in weights:
            entry.CopyFrom(numpy_helper.from_array(values[entry.name], entry.name))


def _read_exact(proto: onnx.ModelProto, quantised: Collection[str], keep_outputs: bool) -> None:
    """Let what is not quantised, such as residual sums, read numbers as they are before they are rounded for a layer.

    keep_outputs: not those that a quantised layer gives, as it gives 8 bits.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    exact = {}
    for node in proto.graph.node:
        pair = makers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if pair is not None and pair.op_type == "QuantizeLinear":
            maker = makers.get(pair.input[0])
            if not (keep_outputs and maker is not None and maker.name in quantised):
                exact[node.output[0]] = pair.input[0]
    for node in proto.graph.node:
        if node.name not in quantised and node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            node.input[:] = [exact.get(name, name) for name in node.input]


def _name_nodes(proto: onnx.ModelProto) -> None:
    """Give the new nodes names of the layer they serve, `<module>/<operation>_<n>`."""
    reader = {name: node for node in reversed(proto.graph.node) for name in node.input}
    seen: Counter[str] = Counter()
    for node in reversed(proto.graph.node):  # a pair's second node is named before its first asks
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.output[0] in reader:
            kind = f"{reader[node.output[0]].name.rpartition('/')[0]}/{node.op_type}"
            seen[kind] += 1
            node.name = f"{kind}_{seen[kind]}"
