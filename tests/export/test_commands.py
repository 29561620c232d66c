"""The commands as a user meets them, and the functions that they are."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path

import pytest

from vmdepth import checkpoint
from vmdepth.networks.heads.attention_head import POSITIONS
from vmdepth_export import (
    BenchSettings,
    ExportSettings,
    InfoSettings,
    ParitySettings,
    VerifySettings,
    benchmark,
    compare_models,
    describe,
    export,
)
from vmdepth_export.conversion.proven_engine import build_engine
from vmdepth_export.conversion.settings import ATTENTION, LONGEST_WINDOW, PRECISION, STREAMS
from vmdepth_export.engine import BuildSettings
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    checkpoint.save(path, network, "tiny")
    return path


def run(command, *arguments):
    words = [sys.executable, "-m", f"vmdepth_export.{command}.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.safetensors", "-o", "{folder}/a.onnx"], "no such file"),
        (["{saved}", "-o", "{folder}/a.onnx", "--size", "200x250"], "no multiple of 14"),
        (["{saved}", "-o", "{folder}/a.onnx", "--size", "big"], "HxW"),
        (["{saved}", "-o", "{folder}/a.plan"], "end in .onnx or .engine"),
        pytest.param(
            ["{saved}", "-o", "{folder}/a.engine"],
            "here is none; make its step graph here with 'vmdepth-export {saved} -o a.onnx', then the engine on the "
            "device with 'vmdepth-export a.onnx -o a.engine', or build ahead of time with '--target tensorrt-rtx'",
            marks=pytest.mark.no_gpu,
        ),
        (["{saved}"], "say where it goes"),
        (["{saved}", "--triton", "{folder}/models"], "export it first with -o model.onnx"),
        (["{saved}", "-o", "{folder}/no/a.onnx"], "is not there; make it first"),
        (["{saved}", "-o", "{folder}/a.onnx", "--streams", "0"], "--streams"),
        (["{folder}", "-o", "{folder}/a.onnx"], "is a folder"),
        (["none.onnx", "-o", "{folder}/a.onnx"], "none.onnx: no such file; make one"),
        (["https://x/net.pth", "-o", "{folder}/a.onnx"], "is an address (https://…)"),
    ],
)
def test_export_refuses_bad_input_in_one_line(arguments, message, saved, tmp_path):
    done = run("conversion", *(a.format(saved=saved, folder=tmp_path) for a in arguments))
    assert done.returncode == 2
    *stages, error = done.stderr.strip().splitlines()
    assert message.format(saved=saved) in error
    assert all(line.startswith("vmdepth-export: loads net.safetensors") for line in stages)
    assert not list(tmp_path.iterdir())


def test_bench_refuses_bad_input_in_one_line():
    done = run("bench", "none.onnx")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


# -- the functions behind the commands -----------------------------------------------------------------------------


def test_export_from_settings_writes_a_checked_graph_that_parity_from_settings_agrees_with(saved, tmp_path, capfd):
    lines = []
    settings = ExportSettings(saved, tmp_path / "net.onnx", size=(42, 56), proof_frames=33)
    written = export(settings, tell=lines.append)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    contract = OnnxSession(settings.output).contract
    assert contract.parity["frames"] == written.frames == 33
    assert contract.parity["depth"] <= 1e-4
    assert contract.parity["states"] <= 1e-4
    (line,) = lines
    assert line.startswith(f"{settings.output}: 42x56, fp32, relative inverse depth, ")
    assert f"agrees with {saved} over 33 frames: depth" in line
    assert "33 frames" in dict(describe(InfoSettings(settings.output)))["parity"]
    report = tmp_path / "parity.json"
    proven = compare_models(ParitySettings(saved, settings.output, frames=3, report=report))
    assert (proven.agrees, proven.frames) == (True, 3)
    assert json.loads(report.read_text())["agrees"]
    assert capfd.readouterr() == ("", "")


def test_export_says_its_stages_on_stderr_where_there_is_no_terminal(saved, tmp_path):
    done = run("conversion", saved, "-o", tmp_path / "net.onnx", "--size", "42x56", "--proof-frames", "3")
    stages = [
        "loads net.safetensors",
        "traces the step at 42x56",
        "writes and opens it",
        "proves it against PyTorch step",
    ]
    lines = [line.removeprefix("vmdepth-export: ") for line in done.stderr.splitlines()]
    firsts = [lines.index(stage) for stage in stages]
    assert firsts == sorted(firsts) and firsts[0] == 0
    assert all(any(line.startswith(stage) for stage in stages) for line in lines)
    assert done.stdout.startswith(f"{tmp_path / 'net.onnx'}: 42x56, fp32")


def test_export_from_settings_refuses_what_the_command_refuses(tmp_path):
    graph = tmp_path / "a.onnx"
    graph.touch()
    for settings, message in (
        (ExportSettings(graph, tmp_path / "b.onnx"), "say in which --precision"),
        (ExportSettings(graph, tmp_path / "b.engine", streams=1), "--streams: is chosen when a checkpoint"),
        (ExportSettings(Path("a.safetensors"), tmp_path / "b.plan"), "should end in .onnx or .engine"),
        (ExportSettings(Path("a.safetensors"), tmp_path / "b.onnx", proof_frames=0), "takes at least one frame"),
    ):
        with pytest.raises(InputError, match=message):
            export(settings)


def test_bench_from_settings_reports_rates_and_shares(saved, tmp_path, capfd):
    report = tmp_path / "bench.json"
    figures = benchmark(BenchSettings(saved, size=(84, 112), frames=10, report=report))
    assert capfd.readouterr() == ("", "")  # the runs in it do not speak for themselves
    assert figures == json.loads(report.read_text())
    assert figures["frames_per_second"].keys() == {"PyTorch step", "ONNX step", "vmdepth-run"}
    assert figures["step_shares"].keys() == {"encoder", "heads", "decoder", "other"}
    assert sum(figures["step_shares"].values()) == pytest.approx(1)
    # Operations are known by their modules: were their names lost, all would be other.
    assert figures["step_shares"]["other"] < figures["step_shares"]["encoder"]
    assert figures["run_shares"].keys() == {"read", "step", "anchor", "write"}
    assert 0 < figures["run_shares"]["step"] <= 1


def test_a_graph_is_timed_without_torch(step_graph, tmp_path):
    code = "import sys; sys.modules['torch'] = None; from vmdepth_export.bench import cli, measure; "
    code += "measure.ROUNDS = 1; cli.main()"
    report = tmp_path / "bench.json"
    words = [sys.executable, "-c", code, step_graph, "--frames", "5", "--device", "cpu", "--report", report]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "× ONNX step" in done.stdout
    assert json.loads(report.read_text())["frames_per_second"].keys() == {"ONNX step", "vmdepth-run"}


def test_an_engine_is_timed_on_the_gpu_that_is_named(building, step_graph, tmp_path, capsys, monkeypatch):
    from vmdepth_export.bench.cli import _print

    monkeypatch.setattr("vmdepth_export.bench.measure.ROUNDS", 1)
    engine = tmp_path / "net.engine"
    assert build_engine(step_graph, engine, BuildSettings("tensorrt"), 2)
    figures = benchmark(BenchSettings(engine, frames=5, device="cuda:0"))
    assert figures["frames_per_second"].keys() == {"engine step", "vmdepth-run"}
    _print(figures)
    assert "× engine step" in capsys.readouterr().out
    with pytest.raises(InputError, match="GPU 3: is not here"):
        benchmark(BenchSettings(engine, frames=5, device="cuda:3"))


def test_bench_prints_one_table_whose_ratios_are_those_of_its_figures(capsys):
    from vmdepth_export.bench.cli import _print

    rates = {"PyTorch step": 20.0, "ONNX step": 40.0, "vmdepth-run": 30.0}
    shares = {"encoder": 0.6, "other": 0.4}
    figures = {"model": "tiny", "size": [42, 56], "frames_per_second": rates, "step_shares": shares}
    _print({**figures, "run_shares": {"step": 0.9}, "state_bytes": 3_400_000, "temporal_heads_ms": {}})
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    rows = {line.split("│")[1].strip(): line.split("│")[2:5] for line in out.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in rows["vmdepth-run"]] == ["30.0", "33.3", "0.75"]
    assert [cell.strip() for cell in rows["ONNX step"]] == ["40.0", "25.0", "1.00"]
    assert "time of an ONNX step: encoder 60 %, other 40 %" in out


def test_info_from_settings_describes(step_graph):
    assert dict(describe(InfoSettings(step_graph)))["frames"] == "42x56, 1 at once"
    assert "Python" in dict(describe(InfoSettings()))


# Command → words that it cannot do without, settings, function of its library.
COMMANDS = {
    "conversion": (["a.pth"], ExportSettings(Path("a.pth")), "convert.export"),
    "bench": (["a.onnx"], BenchSettings(Path("a.onnx")), "measure.benchmark"),
    "parity": (["a.onnx", "b.onnx"], ParitySettings(Path("a.onnx"), Path("b.onnx")), "proof.compare_models"),
    "info": ([], InfoSettings(), "describe.describe"),
    "verify": ([], VerifySettings(), "run.verify_machine"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_the_defaults_of_the_settings_and_help_shows_them(name, monkeypatch):
    words, settings, function = COMMANDS[name]
    command = import_module(f"vmdepth_export.{name}.cli").command
    module, _, function = function.partition(".")
    given = []

    def stand_in(settings, **_):
        given.append(settings)
        raise InputError("enough")

    monkeypatch.setattr(import_module(f"vmdepth_export.{name}.{module}"), function, stand_in)
    with pytest.raises(InputError, match="enough"):
        command.main(words, standalone_mode=False)
    assert given == [settings]

    text = " ".join(command.get_help(command.make_context(name, list(words))).split())
    for field in fields(settings):
        if field.default not in (MISSING, None, (), False):
            assert f"[default: {field.default}" in text


def test_help_of_export_shows_what_a_checkpoint_becomes():
    command = import_module("vmdepth_export.conversion.cli").command
    text = " ".join(command.get_help(command.make_context("vmdepth-export", ["a.pth"])).split())
    for value in (f"{PRECISION}, or the graph's", LONGEST_WINDOW, ATTENTION, STREAMS):
        assert f"[default: {value}]" in text
    assert LONGEST_WINDOW == POSITIONS


@pytest.mark.parametrize("package", ["vmdepth_export", "vmdepth_calibrate"])
def test_a_package_has_all_its_names_and_importing_it_is_cheap(package):
    code = f"import sys, {package}; assert not {{'numpy', 'onnx', 'torch', 'click'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    module = import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018
