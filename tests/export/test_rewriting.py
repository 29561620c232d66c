"""Rewriting made quick is onnxscript's own."""

import numpy as np
import onnxscript.optimizer
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxscript.rewriter._matcher import SimplePatternMatcher

from vmdepth_export.rewriting import quick_rewriting


@pytest.fixture
def halves():
    """Two halves of a tensor, cut out by themselves, and their sum: the pattern that has two last nodes."""
    numbers = [
        numpy_helper.from_array(np.int64([number]), name)
        for name, number in (("zero", 0), ("four", 4), ("eight", 8), ("axis", 1))
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["kept"]),
        helper.make_node("Slice", ["kept", "four", "eight", "axis"], ["right"]),
        helper.make_node("Slice", ["kept", "zero", "four", "axis"], ["left"]),
        helper.make_node("Add", ["left", "right"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, width]) for name, width in (("x", 8), ("y", 4)))
    graph = helper.make_graph(nodes, "halves", [x], [y], numbers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_what_has_several_last_nodes_is_found_as_ever(halves):
    expected = onnxscript.optimizer.optimize(halves)
    with quick_rewriting():
        assert onnxscript.optimizer.optimize(halves).SerializeToString() == expected.SerializeToString()
    assert [node.op_type for node in expected.graph.node] == ["Relu", "Split", "Add"]


def test_the_library_is_left_as_it_was():
    match = SimplePatternMatcher.match
    with pytest.raises(RuntimeError), quick_rewriting():
        assert SimplePatternMatcher.match is not match
        raise RuntimeError
    assert SimplePatternMatcher.match is match
