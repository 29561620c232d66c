"""The way to an engine of TensorRT and through it, on a stand-in for TensorRT and a GPU (`tests/stand_ins`)."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_export.conversion.convert import export
from vmdepth_export.conversion.settings import ExportSettings
from vmdepth_export.parity.comparison import compare
from vmdepth_runtime.sessions.load import load_session


@pytest.fixture
def engine(stand_in_gpu, step_graph, tmp_path):
    path = tmp_path / "tiny.engine"
    export(ExportSettings(step_graph, path, target="tensorrt", proof_frames=5))
    return path


def test_an_engine_steps_as_its_graph_does_states_included(engine, step_graph):
    frames = np.random.default_rng(0).integers(0, 256, (20, 1, 42, 56, 3), np.uint8)
    with load_session(step_graph) as reference, load_session(engine) as candidate:
        assert compare(reference, candidate, iter(frames)).agrees
