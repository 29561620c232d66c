"""The examples in docstrings run as they stand."""

from __future__ import annotations

import re
from inspect import cleandoc

import pytest

import vmdepth_runtime
from vmdepth_runtime.stage_timer import StageTimer

DESCRIBED = [vmdepth_runtime, StageTimer, *(getattr(vmdepth_runtime, name) for name in vmdepth_runtime.__all__)]
EXAMPLES = {
    f"{described.__name__}-{number}": example
    for described in DESCRIBED
    for number, example in enumerate(re.findall(r"```python\n(.*?)```", cleandoc(described.__doc__ or ""), re.DOTALL))
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[name], {})


def test_most_of_what_is_public_has_an_example():
    assert len(EXAMPLES) >= 12
