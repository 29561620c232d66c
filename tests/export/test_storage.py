"""Weights in 8 bits, where that loses nothing."""

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.rounding import rounded
from vmdepth_export.step_graph import to_onnx
from vmdepth_export.storage import store_small


def product(weight):
    """A graph x @ weight."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, weight.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, weight.shape[1]])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", [x], [y], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(proto, x):
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]


def test_what_is_on_the_grid_is_stored_in_bytes_and_computed_to_the_bit():
    weight = rounded({"w": torch.randn(96, 64, generator=torch.Generator().manual_seed(0))})["w"].numpy()
    x = np.random.default_rng(0).standard_normal((2, 96), np.float32)
    for form in (weight, np.ascontiguousarray(weight.T)):  # channels first, and as exporters turn matrices
        proto = product(form)
        before, size = run(proto, x[:, : form.shape[0]]), proto.ByteSize()
        store_small(proto)
        onnx.checker.check_model(proto, full_check=True)
        assert proto.ByteSize() < 0.4 * size
        assert np.array_equal(run(proto, x[:, : form.shape[0]]), before)


def test_what_is_not_on_the_grid_or_is_small_stays():
    for weight in (np.random.default_rng(1).standard_normal((96, 64)), np.ones((8, 8))):
        proto = product(weight.astype(np.float32))
        before = proto.SerializeToString()
        store_small(proto)
        assert proto.SerializeToString() == before


def test_rounding_twice_changes_nothing_and_once_little():
    torch.manual_seed(0)
    weights = VideoDepth(PRESETS["tiny"]).state_dict()
    once = rounded(weights)
    twice = rounded(once)
    for name, weight in weights.items():
        assert torch.equal(once[name], twice[name]), name
        step = weight.flatten(1).abs().amax(dim=1) * 2 / 127 if weight.ndim > 1 else weight.new_zeros(1)
        assert ((once[name] - weight).flatten(1 if weight.ndim > 1 else 0).abs().amax(-1) <= step / 2 + 1e-9).all(), (
            name
        )
    assert any(not torch.equal(once[name], weight) for name, weight in weights.items())
    assert torch.equal(once["encoder.pos_embed"], weights["encoder.pos_embed"])


def test_a_rounded_network_makes_a_graph_a_quarter_as_large_that_computes_the_same():
    torch.manual_seed(0)
    model = VideoDepth(PRESETS["tiny"]).eval()
    large = to_onnx(model, 28, 42, 1, "explicit").ByteSize()
    model.load_state_dict(rounded(model.state_dict()))
    proto = to_onnx(model, 28, 42, 1, "explicit")
    assert proto.ByteSize() < 0.35 * large
    frame = np.random.default_rng(0).integers(0, 256, (1, 28, 42, 3), np.uint8)
    states = {f"state.{name}": state.numpy() for name, state in model.init_states(1, 28, 42).items()}
    depth = onnxruntime.InferenceSession(proto.SerializeToString()).run(["depth"], {"frame": frame, **states})[0]
    with torch.no_grad():
        expected, _ = model.step(torch.from_numpy(frame).permute(0, 3, 1, 2).float() / 255)
    assert np.abs(depth - expected[:, 0].numpy()).max() <= 1e-4 * float(expected.max() - expected.min() + 1e-6)
