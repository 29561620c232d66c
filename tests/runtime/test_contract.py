"""The metadata of a step graph, as files carry it."""

from __future__ import annotations

import json

import pytest

from vmdepth_runtime.contract import StateSpec, StepContract

PLAIN = StepContract("luma", "0123abcd", 28, 42, (StateSpec("counter", (1,)),))
FULL = StepContract("luma", "0", 28, 42, (), depth_kind="metric", metric_focal=300.0, extra_outputs=("sky", "pose"))
RARE = {"metric_focal", "extra_outputs"}


@pytest.mark.parametrize(("contract", "rare"), [(PLAIN, set()), (FULL, RARE)])
def test_what_only_some_networks_have_is_said_by_those_alone(contract, rare):
    """Older runtimes refuse a key that they do not know."""
    text = contract.to_json()
    assert json.loads(text).keys() & RARE == rare
    assert StepContract.from_json(text, "a.onnx") == contract


def test_a_file_may_say_that_it_has_none_of_them():
    raw = {**json.loads(PLAIN.to_json()), "metric_focal": None, "extra_outputs": []}
    assert StepContract.from_json(json.dumps(raw), "a.onnx") == PLAIN
