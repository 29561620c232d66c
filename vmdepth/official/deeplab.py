"""The encoder in DeepLabv3's 8-bit TensorFlow Lite files on MobileNetV2, under the names of `MobileNet`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vmdepth.networks import mobilenet
from vmdepth.networks.mobilenet import MobileNet
from vmdepth.official.family import EncoderFamily
from vmdepth_runtime.errors import InputError

_MAGIC = slice(4, 8)  # of a file, where TensorFlow Lite says so


def encoder_weights(path: Path) -> dict[str, Tensor]:
    """State dict of a `MobileNet` from a file of DeepLabv3 with 8-bit weights, such as
    `deeplabv3_mnv2_pascal_quant.tflite`.

    The encoder is its first 51 convolutions, in order. A weight is scale · (q − zero point) with one scale and zero
    point per tensor (Jacob et al. 2018), a bias scale · q. The maps that these weights give are the file's own within
    1.2 steps of its 8-bit activations in the mean, 7 % of their deviation.

    Args:
        path: of the file.

    Returns:
        Name → float32 tensor, of every weight and bias.

    Raises:
        InputError: it cannot be read, is of another network, or keeps its weights in another way.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if content[_MAGIC] != b"TFL3":
        raise InputError(f"{path}: is no TensorFlow Lite file; get deeplabv3_mnv2_pascal_quant.tflite again")
    expected = _expected()
    try:
        found = _convolutions(content, len(expected))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError):
        # The reader looks up offsets without checks: what is cut off or damaged shows in many ways.
        raise InputError(f"{path}: ends too early or is damaged; get it again") from None
    tensors: dict[str, Tensor] = {}
    for number, (name, geometry) in enumerate(expected.items()):
        if number == len(found) or found[number].geometry != geometry:
            other = found[number].geometry if number < len(found) else "missing"
            raise InputError(
                f"{path}: is another network: convolution {number} is {other}, here it is {geometry}; this encoder "
                f"starts from DeepLabv3 on MobileNetV2 1.0, output stride 16"
            )
        for part, tensor in (("weight", found[number].weight), ("bias", found[number].bias)):
            if tensor is None:
                raise InputError(
                    f"{path}: the {part} of convolution {number} is not in 8 bits with one scale; this reader takes "
                    f"quantisation per tensor, as in deeplabv3_mnv2_pascal_quant.tflite"
                )
            tensors[f"{name}.{part}"] = torch.from_numpy(tensor)
    return tensors


@dataclass(frozen=True)
class _Geometry:
    """What a convolution is like: shape of its weight as PyTorch has it, stride and dilation."""

    shape: tuple[int, ...]
    stride: int
    dilation: int

    def __str__(self) -> str:
        return f"{list(self.shape)} with stride {self.stride} and dilation {self.dilation}"


@dataclass(frozen=True)
class _Convolution:
    """A convolution of the file. weight, bias: float32; None where they are quantised in another way."""

    geometry: _Geometry
    weight: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None


def _expected() -> dict[str, _Geometry]:
    """Name → geometry of the encoder's convolutions, in the order that they are computed in."""
    return {
        name: _Geometry(tuple(module.weight.shape), module.stride[0], module.dilation[0])
        for name, module in MobileNet().named_modules()
        if isinstance(module, nn.Conv2d)
    }


def _convolutions(content: bytes, count: int) -> list[_Convolution]:
    """The first convolutions of a file, in the order they are computed in."""
    import tflite

    model = tflite.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    found: list[_Convolution] = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
        if len(found) < count and (depthwise or kind == tflite.BuiltinOperator.CONV_2D):
            options = tflite.DepthwiseConv2DOptions() if depthwise else tflite.Conv2DOptions()
            table = operator.BuiltinOptions()
            options.Init(table.Bytes, table.Pos)
            # [out, rows, columns, in], or [1, rows, columns, channels]
            axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
            weight, bias = (graph.Tensors(operator.Inputs(place)) for place in (1, 2))
            geometry = _Geometry(
                tuple(int(weight.Shape(axis)) for axis in axes), options.StrideH(), options.DilationHFactor()
            )
            values = _values(model, weight, tflite.TensorType.UINT8)
            if values is not None:
                values = np.ascontiguousarray(values.transpose(axes))
            found.append(_Convolution(geometry, values, _values(model, bias, tflite.TensorType.INT32)))
    return found


def _values(model: Any, tensor: Any, kind: int) -> NDArray[np.float32] | None:
    """A tensor's numbers; None where they are of another kind or have not one scale."""
    import tflite

    scheme = tensor.Quantization()
    if tensor.Type() != kind or scheme is None or scheme.ScaleLength() != 1:
        return None
    dtype = np.dtype(np.uint8 if kind == tflite.TensorType.UINT8 else np.int32)
    numbers = model.Buffers(tensor.Buffer()).DataAsNumpy().view(dtype).reshape(tensor.ShapeAsNumpy())
    zero = scheme.ZeroPoint(0) if scheme.ZeroPointLength() else 0
    return ((numbers.astype(np.float64) - zero) * float(scheme.Scale(0))).astype(np.float32)


DEEPLAB = EncoderFamily("DeepLabv3 on MobileNetV2", ".tflite", mobilenet.NAME, encoder_weights)
