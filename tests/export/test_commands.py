"""vmdepth-export and vmdepth-bench as a user meets them."""

import json
import subprocess
import sys

import pytest

from vmdepth import checkpoint
from vmdepth_runtime.sessions.onnx import OnnxSession


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    checkpoint.save(path, network, "tiny")
    return path


def run(module, *arguments):
    command = [sys.executable, "-m", f"vmdepth_export.{module}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_export_writes_a_checked_graph(saved, tmp_path):
    output = tmp_path / "net.onnx"
    done = run("export", saved, "-o", output, "--size", "42x56")
    assert done.returncode == 0, done.stderr
    assert "agrees with" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    contract = OnnxSession(output).contract
    assert contract.parity["frames"] == 200
    assert contract.parity["depth"] <= 1e-4
    assert contract.parity["states"] <= 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.safetensors", "-o", "{folder}/a.onnx"], "no such file"),
        (["{saved}", "-o", "{folder}/a.onnx", "--size", "200x250"], "no multiple of 14"),
        (["{saved}", "-o", "{folder}/a.onnx", "--size", "big"], "HxW"),
        (["{saved}", "-o", "{folder}/a.plan"], "end in .onnx or .engine"),
        pytest.param(
            ["{saved}", "-o", "{folder}/a.engine"],
            "here is none; run this on the device, or build ahead of time",
            marks=pytest.mark.no_gpu,
        ),
        (["{saved}"], "say where it goes"),
        (["{saved}", "--triton", "{folder}/models"], "export it first with -o model.onnx"),
        (["{saved}", "-o", "{folder}/no/a.onnx"], "is not there; make it first"),
        (["{saved}", "-o", "{folder}/a.onnx", "--streams", "0"], "--streams"),
        (["{folder}", "-o", "{folder}/a.onnx"], "is a folder"),
    ],
)
def test_export_refuses_bad_input_in_one_line(arguments, message, saved, tmp_path):
    done = run("export", *(a.format(saved=saved, folder=tmp_path) for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_bench_reports_rates_and_shares(saved, tmp_path):
    report = tmp_path / "bench.json"
    done = run("bench", saved, "--frames", 10, "--report", report)
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert figures["frames_per_second"].keys() == {"torch step", "onnx step", "vmdepth-run"}
    assert figures["step_shares"].keys() == {"encoder", "heads", "decoder", "other"}
    assert sum(figures["step_shares"].values()) == pytest.approx(1)
    assert figures["step_shares"]["other"] < 0.2  # nearly every operation is known by its module
    assert figures["run_shares"].keys() == {"read", "step", "anchor", "write"}
    assert 0 < figures["run_shares"]["step"] <= 1
    assert figures["run_over_session"] > 0


def test_bench_refuses_bad_input_in_one_line():
    done = run("bench", "none.onnx")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
