"""A report takes the place of no other file of its command: neither a model that is read nor a graph that is made."""

from __future__ import annotations

import shutil

import pytest

from vmdepth.evaluation.evaluator import evaluate
from vmdepth.evaluation.settings import EvalSettings
from vmdepth_calibrate import CalibrationSettings, ScaleSettings, calibrate, fit_scale
from vmdepth_export import BenchSettings, ParitySettings, benchmark, compare_models
from vmdepth_runtime import InputError, RunSettings, bundled, run

COMMANDS = {
    "eval": lambda model, made, report: evaluate(EvalSettings(model, "rendered:1x2", sheet=made, report=report)),
    "bench": lambda model, made, report: benchmark(BenchSettings(model, against=(made,), report=report)),
    "parity": lambda model, made, report: compare_models(ParitySettings(model, made, report=report)),
    "calibrate": lambda model, made, report: calibrate(CalibrationSettings(model, "demo", made, report=report)),
    "scale": lambda model, made, report: fit_scale(ScaleSettings(model, "rendered:1x2", made, report=report)),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("place", ["model.onnx", "link.onnx", "made.onnx"])
def test_a_report_takes_no_other_file_s_place(tmp_path, name, place):
    model = tmp_path / "model.onnx"
    shutil.copy(bundled.MODEL, model)
    (tmp_path / "link.onnx").symlink_to(model)
    before = model.read_bytes()
    with pytest.raises(InputError, match="is no place for the report, as another file has it; choose another name"):
        COMMANDS[name](model, tmp_path / "made.onnx", tmp_path / place)
    assert model.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.onnx", "model.onnx"]


@pytest.mark.parametrize("place", ["model.onnx", "camera.yaml"])
def test_nor_does_that_of_a_run(tmp_path, place):
    read = {"model.onnx": bundled.MODEL.read_bytes(), "camera.yaml": b"fx: 300\nfy: 300\ncx: 224\ncy: 168\n"}
    for name, content in read.items():
        (tmp_path / name).write_bytes(content)
    known = {"model": tmp_path / "model.onnx", "intrinsics": str(tmp_path / "camera.yaml")}
    with pytest.raises(InputError, match="is no place for the report, as another file has it; choose another name"):
        run(RunSettings(("demo",), (str(tmp_path / "out.npz"),), report=tmp_path / place, **known))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == read
