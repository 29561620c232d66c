"""The examples in docstrings run as they stand."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

import vmdepth_runtime
from vmdepth_runtime.stage_timer import StageTimer

PUBLIC = ["LiveSettings", "SinkFacts", "SourceFrame", "VideoInfo", "open_sink", "open_source"]


@pytest.mark.parametrize("described", [*(getattr(vmdepth_runtime, name) for name in PUBLIC), StageTimer])
def test_the_example_runs(described, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", dedent(4 * " " + described.__doc__), re.DOTALL)
    exec(example, {})
