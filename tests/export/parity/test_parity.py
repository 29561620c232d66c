"""Parity finds what differs, and only that."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from vmdepth import checkpoint
from vmdepth.session import TorchSession
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.graph import save_step_graph
from vmdepth_export.parity.comparison import TOLERANCES, compare, one_frame
from vmdepth_export.parity.frames import clip_frames
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import EXTRA_OUTPUTS
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (42, 56)


def vmdepth_parity(*arguments):
    command = [sys.executable, "-m", "vmdepth_export.parity.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def tampered(step_graph, folder, name):
    """The graph with one of its initializers scaled by 1 %."""
    proto = onnx.load(step_graph)
    weight = next(i for i in proto.graph.initializer if i.name.endswith(name))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    path = folder / "tampered.onnx"
    save_step_graph(proto, path)
    return path


def test_range_error_is_relative_to_the_percentile_spread():
    reference = np.linspace(0, 1, 10_001)
    assert one_frame(reference, reference).largest == 0
    assert one_frame(reference, reference + 0.098).largest == pytest.approx(0.1)
    assert one_frame(np.full(5, 4.0), np.full(5, 5.0)).largest == pytest.approx(0.25)
    assert one_frame(np.zeros(5), np.full(5, 0.5)).largest == pytest.approx(0.5)


def test_a_mask_is_compared_as_it_is():
    """Where next to nothing moves, a range of its own would make much of the last digits."""
    (dynamic,) = (output for output in EXTRA_OUTPUTS if output.name == "dynamic")
    nothing = np.zeros((28, 42), np.float32)
    nothing[0, :20] = 1e-6
    other = nothing[::-1].copy()
    fp32 = TOLERANCES["fp32"]
    assert one_frame(nothing, other).exceeds(fp32)
    assert one_frame(nothing, other, dynamic).exceeds(fp32) == []
    moved = nothing.copy()
    moved[5, 5:30] = 0.01
    figures = one_frame(nothing, moved, dynamic)
    assert (figures.largest, figures.mean) == pytest.approx((0.01, 0.01 * 25 / 28 / 42), rel=1e-3)
    assert figures.exceeds(fp32) == ["largest", "mean", "p99"]
    moved[5, 5] = np.nan
    assert one_frame(nothing, moved, dynamic).exceeds(TOLERANCES["fp16"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_disagrees(network, value):
    class Broken(TorchSession):
        def step(self):
            output = super().step()
            output["depth"][0, 0, 0] = value
            return output

    report = compare(TorchSession(network, *SIZE), Broken(network, *SIZE), clip_frames(3, *SIZE, 1))
    assert not report.agrees


@pytest.mark.parametrize("weight", ["heads.layer_4.blocks.1.in_proj.weight", "scratch.output_conv2.0.weight"])
def test_a_weight_off_by_one_percent_disagrees(weight, network, step_graph, tmp_path):
    path = tampered(step_graph, tmp_path, weight)
    report = compare(TorchSession(network, *SIZE), OnnxSession(path), clip_frames(3, *SIZE, 1))
    assert not report.agrees


def test_a_state_that_is_not_fed_back_disagrees(network, step_graph):
    """Depth alone could hide this for a while; that is why states are compared."""

    class Forgetful(OnnxSession):
        def step(self):
            before = self.states()["layer_4.1.ssm"]
            output = super().step()
            snapshot = self.snapshot()
            self.save(0, snapshot)
            self.memory.upload(snapshot.addresses["layer_4.1.ssm"], before)
            self.restore(0, snapshot)
            return output

    report = compare(TorchSession(network, *SIZE), Forgetful(step_graph), clip_frames(3, *SIZE, 1))
    assert not report.agrees
    assert max(report.worst, key=report.worst.get) == "state.layer_4.1.ssm"


def test_export_refuses_to_write_a_graph_that_disagrees(network, step_graph, tmp_path, monkeypatch):
    miscompiled = onnx.load(tampered(step_graph, tmp_path, "heads.layer_3.blocks.0.in_proj.weight"))
    monkeypatch.setattr("vmdepth_export.step_graph.to_onnx", lambda *_: miscompiled)
    folder = tmp_path / "output"
    folder.mkdir()
    with pytest.raises(WorkError, match="not written, ONNX Runtime and PyTorch step disagree"):
        export_step_graph(network, folder / "wrong.onnx", *SIZE, frames=3)
    assert not list(folder.iterdir())


def test_different_sizes_are_not_compared(network, step_graph):
    with pytest.raises(InputError, match="differ in streams, height, width"):
        compare(TorchSession(network, 28, 28), OnnxSession(step_graph), [])


def test_command_agrees_on_real_video_and_writes_a_report(network, step_graph, tmp_path, shared_data):
    saved = tmp_path / "net.safetensors"
    checkpoint.save(saved, network, "tiny")
    report = tmp_path / "parity.json"
    source = shared_data / "videos" / "davis_rollercoaster.mp4"
    done = vmdepth_parity(saved, step_graph, "--source", source, "--frames", 30, "--report", report)
    assert done.returncode == 0, done.stderr
    assert "agree over 30 frames" in done.stdout
    figures = json.loads(report.read_text())
    assert figures["agrees"]
    assert figures["outputs"]["depth"]["largest"] <= 1e-4
    assert len(figures["history"]["depth"]) == 30


def test_command_exits_1_when_they_disagree(network, step_graph, tmp_path):
    done = vmdepth_parity(
        step_graph, tampered(step_graph, tmp_path, "heads.layer_3.blocks.0.in_proj.weight"), "--frames", 3
    )
    assert done.returncode == 1
    assert "DISAGREE" in done.stdout


def test_command_refuses_bad_input_in_one_line(step_graph, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    for arguments in (
        (tmp_path / "missing.onnx", step_graph),
        (text, step_graph),
        (step_graph, step_graph, "--source", tmp_path / "none.mp4"),
        (step_graph, step_graph, "--frames", 0),
        (step_graph, step_graph, "--frames", 2, "--picture", text),
        ("nothere", step_graph),
        (tmp_path, step_graph),
    ):
        done = vmdepth_parity(*arguments)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("vmdepth-parity: ")
    assert text.read_text() == "hello"
