"""Weights in 8 bits that make up for their rounding."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from vmdepth_calibrate.rounding import InputMoments, channel_axis, channel_steps


@pytest.mark.parametrize("kind", ["Conv", "MatMul", "depthwise"])
def test_rounding_makes_up_for_what_it_changes(kind):
    """On inputs that are all positive and alike, a layer gives several times nearer numbers than by nearest weights."""
    random = np.random.default_rng(0)
    seen = (np.abs(random.normal(3, 1, (1, 1, 20, 30))) + random.normal(0, 0.1, (1, 24, 20, 30))).astype(np.float32)
    shape = {"Conv": (32, 24, 3, 3), "MatMul": (24, 32), "depthwise": (24, 1, 3, 3)}[kind]
    weight = random.normal(0, 1, shape).astype(np.float32)
    options = {"pads": [1, 1, 1, 1], "group": 24 // shape[1]} if kind != "MatMul" else {}
    node = helper.make_node(
        "MatMul" if kind == "MatMul" else "Conv", ["x", "w"], ["y"], name="decoder.a/A_1", **options
    )
    tensor = seen.transpose(0, 2, 3, 1) if kind == "MatMul" else seen
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(weight, "w")])
    moments = InputMoments(helper.make_model(graph), [node])
    for _ in range(10):
        moments.add({"x": tensor})
    rounded = moments.rounded(["decoder.a/A_1"])["w"]
    axis = channel_axis(node)
    steps = channel_steps(weight, axis).reshape([-1 if k == axis else 1 for k in range(weight.ndim)])
    nearest = (np.rint(weight / steps) * steps).astype(np.float32)
    assert np.abs(rounded / steps - np.rint(rounded / steps)).max() < 1e-3

    def off(changed):
        """The mean square of what a layer that reads a flat picture gives too much; in all of it the taps are alike."""
        over = tuple(other for other in range(weight.ndim) if other != axis)
        return float(np.mean((changed - weight).sum(axis=over) ** 2))

    assert off(rounded) < 0.5 * off(nearest)
