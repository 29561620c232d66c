"""The encoder of DeepLabv3's 8-bit file: names, shapes and values; what is something else is refused."""

import cv2
import numpy as np
import pytest
import torch

from vmdepth.networks.mobilenet import MobileNet
from vmdepth.official.deeplab import encoder_weights
from vmdepth.training.settings.parsing import parse_settings
from vmdepth.training.setup import first_network
from vmdepth_runtime.errors import InputError

MAPS = (  # that the decoder reads, by their names in the file
    "expanded_conv/project",
    "expanded_conv_2/add",
    "expanded_conv_5/add",
    "expanded_conv_12/add",
    "expanded_conv_16/project",
)


@pytest.fixture(scope="module")
def official(shared_models):
    return shared_models / "deeplabv3_mnv2_pascal_quant.tflite"


def test_names_and_shapes_are_the_encoders(official):
    own = MobileNet().state_dict()
    weights = encoder_weights(official)
    assert len(weights) == 2 * 51  # convolutions, as the file's description has it
    assert {name: weight.shape for name, weight in weights.items()} == {name: w.shape for name, w in own.items()}
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights.values())
    assert sum(weight.numel() for weight in weights.values()) == pytest.approx(1.8e6, rel=0.02)


def test_maps_are_the_files_own_to_the_error_of_its_8_bits(official, shared_data):
    """Mean error of 1.5 steps of its 8 bits in every map that the decoder reads; measured: 0.5 to 1.2, the last 0.7."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(official), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    (details,) = interpreter.get_input_details()
    picture = cv2.cvtColor(cv2.imread(str(shared_data / "images" / "demo01_street.jpg")), cv2.COLOR_BGR2RGB)
    picture = cv2.resize(picture, details["shape"][1:3], interpolation=cv2.INTER_AREA)
    interpreter.set_tensor(details["index"], picture[None])
    interpreter.invoke()
    encoder = MobileNet().eval()
    encoder.load_state_dict(encoder_weights(official))
    with torch.no_grad():
        maps = encoder(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1)
    theirs = [_map(interpreter, name) for name in MAPS]
    for image, (values, step) in zip(maps, theirs, strict=True):
        error = np.abs(image[0].numpy() - values)
        assert error.mean() <= 1.5 * step
        assert error.mean() <= 0.1 * values.std()
        assert np.corrcoef(image[0].numpy().ravel(), values.ravel())[0, 1] >= 0.99


def _map(interpreter, name):
    """A map [C, H, W] in the file, and the step of its 8 bits."""
    named = [d for d in interpreter.get_tensor_details() if d["name"].startswith(f"MobilenetV2/{name}")]
    (detail,) = [d for d in named if d["dtype"] == np.uint8 and d["shape"][1] > 3]  # which is no weight
    scale, zero = detail["quantization"]
    values = (interpreter.get_tensor(detail["index"])[0].astype(np.float32) - zero) * scale
    return values.transpose(2, 0, 1), scale


def test_what_is_something_else_is_refused_in_one_line(official, tmp_path):
    content = official.read_bytes()
    for name, part in (
        ("empty", b""),
        ("text", b"weights"),
        ("half", content[: len(content) // 2]),
        ("head", content[:200]),
    ):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(part)
        with pytest.raises(InputError, match=f"{name}.tflite: (is no TensorFlow Lite file|ends too early)") as error:
            encoder_weights(path)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"no\.tflite: cannot be read"):
        encoder_weights(tmp_path / "no.tflite")
    with pytest.raises(InputError, match="weight of convolution 0 is not in 8 bits with one scale; this reader takes"):
        encoder_weights(one_convolution(tmp_path / "int8.tflite", (32, 3, 3, 3), signed=True))


def test_another_network_is_named(tmp_path):
    """Of another shape, at another stride, or with fewer convolutions; and one with a scale for every channel."""
    other = (
        r"is another network: convolution 0 is \[8, 3, 5, 5\] with stride 2 and dilation 1, here it is \[32, 3, 3, 3\]"
    )
    with pytest.raises(InputError, match=other):
        encoder_weights(one_convolution(tmp_path / "other.tflite", (8, 5, 5, 3)))
    with pytest.raises(InputError, match=r"convolution 0 is \[32, 3, 3, 3\] with stride 1 and dilation 1"):
        encoder_weights(one_convolution(tmp_path / "fine.tflite", (32, 3, 3, 3), stride=1))
    with pytest.raises(InputError, match=r"weight of convolution 0 is not in 8 bits with one scale"):
        encoder_weights(one_convolution(tmp_path / "channels.tflite", (32, 3, 3, 3), scales=32))
    with pytest.raises(InputError, match=r"is another network: convolution 1 is missing"):
        encoder_weights(one_convolution(tmp_path / "short.tflite", (32, 3, 3, 3)))
    with pytest.raises(InputError, match=r"ends too early or is damaged"):
        encoder_weights(one_convolution(tmp_path / "empty.tflite", (32, 3, 3, 3), bytes_of_weight=5))


def one_convolution(path, shape, stride=2, scales=1, bytes_of_weight=None, signed=False):
    """A TensorFlow Lite file of a single convolution with zero weights, as its schema has it."""
    import flatbuffers
    import tflite

    build = flatbuffers.Builder(1024)
    names = [build.CreateString(name) for name in ("in", "weight", "bias", "out")]
    contents = [
        build.CreateByteVector(bytes(count)) for count in (0, bytes_of_weight or int(np.prod(shape)), 4 * shape[0])
    ]

    def vector(values, start, prepend=None):
        start(build, len(values))
        for value in reversed(values):
            (prepend or build.PrependUOffsetTRelative)(value)
        return build.EndVector()

    buffers = []
    for content in contents:
        tflite.BufferStart(build)
        tflite.BufferAddData(build, content)
        buffers.append(tflite.BufferEnd(build))
    tensors = []
    kind_of_weight = tflite.TensorType.INT8 if signed else tflite.TensorType.UINT8
    kinds = (tflite.TensorType.UINT8, kind_of_weight, tflite.TensorType.INT32, tflite.TensorType.UINT8)
    shapes = ((1, 8, 8, shape[3]), shape, (shape[0],), (1, 4, 4, shape[0]))
    for name, kind, sizes, buffer in zip(names, kinds, shapes, (0, 1, 2, 0), strict=True):
        size = vector(sizes, tflite.TensorStartShapeVector, build.PrependInt32)
        count = scales if name == names[1] else 1
        steps = vector([0.5] * count, tflite.QuantizationParametersStartScaleVector, build.PrependFloat32)
        tflite.QuantizationParametersStart(build)
        tflite.QuantizationParametersAddScale(build, steps)
        scheme = tflite.QuantizationParametersEnd(build)
        tflite.TensorStart(build)
        tflite.TensorAddShape(build, size)
        tflite.TensorAddType(build, kind)
        tflite.TensorAddBuffer(build, buffer)
        tflite.TensorAddName(build, name)
        tflite.TensorAddQuantization(build, scheme)
        tensors.append(tflite.TensorEnd(build))
    tensors = vector(tensors, tflite.SubGraphStartTensorsVector)
    inputs = vector([0, 1, 2], tflite.OperatorStartInputsVector, build.PrependInt32)
    tflite.Conv2DOptionsStart(build)
    tflite.Conv2DOptionsAddStrideH(build, stride)
    options = tflite.Conv2DOptionsEnd(build)
    tflite.OperatorStart(build)
    tflite.OperatorAddInputs(build, inputs)
    tflite.OperatorAddBuiltinOptionsType(build, tflite.BuiltinOptions.Conv2DOptions)
    tflite.OperatorAddBuiltinOptions(build, options)
    operators = vector([tflite.OperatorEnd(build)], tflite.SubGraphStartOperatorsVector)
    tflite.SubGraphStart(build)
    tflite.SubGraphAddTensors(build, tensors)
    tflite.SubGraphAddOperators(build, operators)
    graphs = vector([tflite.SubGraphEnd(build)], tflite.ModelStartSubgraphsVector)
    tflite.OperatorCodeStart(build)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(build, tflite.BuiltinOperator.CONV_2D)
    tflite.OperatorCodeAddBuiltinCode(build, tflite.BuiltinOperator.CONV_2D)
    codes = vector([tflite.OperatorCodeEnd(build)], tflite.ModelStartOperatorCodesVector)
    buffers = vector(buffers, tflite.ModelStartBuffersVector)
    tflite.ModelStart(build)
    tflite.ModelAddOperatorCodes(build, codes)
    tflite.ModelAddSubgraphs(build, graphs)
    tflite.ModelAddBuffers(build, buffers)
    build.Finish(tflite.ModelEnd(build), b"TFL3")
    path.write_bytes(build.Output())
    return path


def test_training_starts_from_it_and_only_where_it_belongs(official):
    model = first_network(parse_settings("edge", [f"init={official}", "head=none"]))
    weights = encoder_weights(official)
    assert all(torch.equal(weights[name], weight) for name, weight in model.encoder.state_dict().items())
    with pytest.raises(InputError, match="which preset edge has, not 'tiny'"):
        first_network(parse_settings("tiny", [f"init={official}"]))
