"""The models that are evaluated, opened: which are refused, and what they are on."""

from pathlib import Path

import pytest

from vmdepth.evaluation.evaluator import open_models
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession


def test_a_model_of_several_streams_is_refused(monkeypatch):
    two = TorchSession(VideoDepth(PRESETS["tiny"]).eval(), 28, 42, streams=2)
    monkeypatch.setattr("vmdepth.evaluation.evaluator.open_session", lambda path, device: two)
    with pytest.raises(InputError, match=r"two\.onnx: takes 2 streams at once; export it again with --streams 1"):
        open_models([Path("two.onnx")], None)


def test_a_graph_is_opened_on_the_device_that_is_named(monkeypatch):
    asked = []
    monkeypatch.setattr("vmdepth.session.load_session", lambda path, device: asked.append(device) or OnnxSession(path))
    open_models([bundled.MODEL], None, device="cuda:1")
    assert asked == ["cuda:1"]
    with pytest.raises(InputError, match="--device cuda: is for step graphs and engines"):
        open_models([Path("a.safetensors")], None, device="cuda")
