"""`vmdepth-verify` as a whole: what it checks, that each check stands alone, and what it writes."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import sleep

import psutil
import pytest

from vmdepth_export import VerifySettings, verify_machine
from vmdepth_export.graph import read_step_graph
from vmdepth_export.verify import cli, run
from vmdepth_export.verify.one_check import result_of
from vmdepth_export.verify.onnx_checks import steps
from vmdepth_export.verify.outcome import Outcome
from vmdepth_export.verify.plan import QUICK, Check, Extent, plan
from vmdepth_export.verify.reference import make_reference
from vmdepth_export.verify.report import Verification, markdown
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import NO_ONNXRUNTIME, InputError

STATUSES = ("passes", "fails", "no device", "left out")


@pytest.fixture
def short(monkeypatch, step_graph):
    """A small model in place of the bundled one, and checks that end at once."""
    monkeypatch.setattr(bundled, "MODEL", step_graph)

    def choose(*names):
        def chosen(settings, folder, extent, facts):
            small = Extent(proof=5, timed=3, held=210, precisions=("fp32",))
            made = {check.name: check for check in plan(settings, folder, small, facts)}
            others = {"breaks": Check("breaks", "a process that breaks", "", os.abort)}
            return [(made | others)[name] for name in names]

        monkeypatch.setattr(run, "plan", chosen)

    return choose


@pytest.fixture
def with_stand_ins(stand_in_gpu, monkeypatch):
    """Also for processes that are started."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in_gpu.library.parent))
    monkeypatch.setenv("PYTHONPATH", sys.path[0])  # where the stand-in for TensorRT is


def test_every_check_is_found_by_its_name_and_takes_what_it_is_given(tmp_path):
    for settings, extent in ((VerifySettings(), Extent()), (VerifySettings(quick=True), QUICK)):
        checks = plan(settings, tmp_path, extent)
        assert len({check.name for check in checks}) == len(checks)
        for check in checks:
            look = getattr(import_module(check.look.__module__), check.look.__name__)
            inspect.signature(look).bind(**json.loads(json.dumps(check.arguments)))


def test_quick_has_the_bundled_model_alone_and_the_whole_a_reference_in_three_precisions(tmp_path):
    quick = {check.name for check in plan(VerifySettings(quick=True), tmp_path, QUICK)}
    whole = {check.name for check in plan(VerifySettings(), tmp_path, Extent())}
    given = {check.name for check in plan(VerifySettings(quick=True, reference=tmp_path), tmp_path, QUICK)}
    assert quick < whole
    assert {
        f"{model} {p} engine against its graph" for model in ("edge", "reference") for p in Extent.precisions
    } < whole
    graphs = [check for check in plan(VerifySettings(), tmp_path, Extent()) if "none of states" in check.promised]
    assert graphs and all("bytes a frame in copies of vmdepth's own" in check.what for check in graphs)
    assert not any("reference" in name or "int8" in name for name in quick)
    assert "reference fp16 engine against its graph" in given


def test_a_check_that_breaks_leaves_the_others_and_is_told(short, tmp_path):
    short("breaks", "edge, steps on CPU")
    lines = []
    seen = verify_machine(VerifySettings(tmp_path / "seen.json"), tell=lines.append)
    assert [outcome.status for outcome in seen.outcomes] == ["fails", "passes"]
    assert lines == seen.outcomes
    assert seen.outcomes[0].told.startswith("ended by SIGABRT")
    assert not seen.agrees
    assert seen.bug_report.startswith("vmdepth ")
    assert "breaks: ended by SIGABRT" in seen.bug_report
    written = json.loads((tmp_path / "seen.json").read_text())
    assert written == json.loads(json.dumps(seen.to_dict()))
    assert written["checks"][1]["figures"]["step_ms"]["p50"] > 0
    assert written["machine"]["vmdepth"] == written["vmdepth"]
    assert "" not in written["machine"]
    assert "; step graphs run on " in written["machine"]["ONNX Runtime"]
    table = (tmp_path / "seen.md").read_text()
    assert "| edge in ONNX Runtime on CPU: the same again after a reset; step p50, p99 | bit-equal | " in table
    assert f"```text\n{seen.bug_report}\n```" in table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen.json", "seen.md"]


def test_a_machine_that_cannot_be_described_is_told_as_well(short, tmp_path, monkeypatch):
    short()
    monkeypatch.setattr(run, "_MACHINE", Check("machine", "what this machine is", "", os.abort))
    seen = verify_machine(VerifySettings(tmp_path / "seen.json"))
    assert [(outcome.name, outcome.status) for outcome in seen.outcomes] == [("machine", "fails")]
    assert "an unknown machine, no GPU: machine: ended by SIGABRT" in seen.bug_report


def test_what_a_machine_is_that_takes_too_long_is_left_out_and_told(short, tmp_path, monkeypatch):
    short("ONNX Runtime")
    monkeypatch.setattr(run, "_QUICK_SECONDS", 0.0)
    lines = []
    seen = verify_machine(VerifySettings(tmp_path / "seen.json", quick=True), tell=lines.append)
    assert [(outcome.name, outcome.status) for outcome in seen.outcomes] == [
        ("machine", "left out"),
        ("ONNX Runtime", "left out"),
    ]
    assert lines == seen.outcomes
    assert json.loads((tmp_path / "seen.json").read_text())["checks"][0]["name"] == "machine"


def test_the_machine_is_asked_once(short, tmp_path):
    """What its providers are is taken from there: trying them takes long where they build engines."""
    short("ONNX Runtime")
    seen = verify_machine(VerifySettings(tmp_path / "seen.json"))
    (outcome,) = seen.outcomes
    assert outcome.status == "passes"
    first = next(number for number, (name, _) in enumerate(seen.facts) if name == "ONNX Runtime")
    told = [line for line in outcome.figures["providers"] if "built without CUDA" not in line]  # said beside a GPU
    assert told[0].startswith(version("onnxruntime"))
    assert told[-1].startswith("step graphs run on ")
    assert told == [value for _, value in seen.facts[first : first + len(told)]]


@pytest.mark.no_gpu
def test_without_a_gpu_that_is_said_and_nothing_is_wrong(short, tmp_path, capsys):
    names = "edge fp32 engine against its graph", "edge fp32 engine, CUDA graphs", "edge, CUDA against CPU"
    short("ONNX Runtime", *names)
    assert cli.command.main(["-o", str(tmp_path / "seen.json"), "--quick"], standalone_mode=False) == 0
    _, *checks, reason, last = capsys.readouterr().out.splitlines()
    assert checks == [f"no device  {name}" for name in names]
    assert reason.startswith("no device: ") and "NVIDIA" in reason
    assert last.endswith("seen.md: 1 pass, 3 no device")
    table = (tmp_path / "seen.md").read_text()
    assert "no GPU" in table.splitlines()[0]
    assert table.count("NVIDIA's driver") == 1


@pytest.mark.no_gpu
def test_where_nothing_could_be_checked_nothing_agrees(short, tmp_path, capsys):
    short("edge, CUDA against CPU")
    assert cli.command.main(["-o", str(tmp_path / "seen.json"), "--quick"], standalone_mode=False) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("nothing could be checked: ")
    assert not json.loads((tmp_path / "seen.json").read_text())["agrees"]


def test_without_onnx_runtime_what_to_install_is_said_and_no_error_is_a_name():
    facts = [("CPU", "Fast, 2 cores"), ("ONNX Runtime", NO_ONNXRUNTIME), ("Python", "3.12")]
    outcomes = [Outcome("a", "a", "", "no device", "no GPU"), Outcome("b", "b", "", "left out", NO_ONNXRUNTIME)]
    seen = Verification(facts, [*outcomes, outcomes[1]], True, 1.0)
    assert seen.nothing_checked == f"nothing could be checked: {NO_ONNXRUNTIME}"
    assert not seen.agrees
    table = markdown(seen)
    assert "Fast, 2 cores, no GPU, no ONNX Runtime, Python 3.12; " in table.splitlines()[0]
    assert f"**{seen.nothing_checked}**" in table


def test_sigterm_ends_what_is_under_way_and_keeps_what_was_seen(tmp_path):
    """Twice, as `timeout` sends it."""
    started, temporary = tmp_path / "started", tmp_path / "temporary"
    temporary.mkdir()
    sleeps = ["sh", "-c", f"touch $TMPDIR/own; echo $$ > {started}.part; mv {started}.part {started}; exec sleep 60"]
    code = f"""if True:
        import subprocess
        from vmdepth_export.verify import cli, machine, plan, run
        checks = [plan.Check("first", "first", "", machine.machine)]
        checks += [plan.Check(name, name, "", subprocess.call, {{"args": {sleeps!r}}}) for name in ("second", "third")]
        run.plan = lambda *_: checks
        cli.main()
        """
    words = [sys.executable, "-c", code, "-o", str(tmp_path / "seen.json")]
    own = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(words, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        while not started.exists() and command.poll() is None:
            sleep(0.05)
        for _ in range(2):
            command.send_signal(signal.SIGTERM)
        out, errors = command.communicate(timeout=60)
    assert command.returncode == 130, errors
    assert out.endswith("seen.md: 1 pass, 2 left out\n")
    assert errors.endswith("vmdepth-verify: interrupted\n")
    ends(int(started.read_text()))
    assert list(temporary.iterdir()) == []
    written = json.loads((tmp_path / "seen.json").read_text())
    assert written["interrupted"] and not written["agrees"]
    assert [check["told"] for check in written["checks"][1:]] == ["interrupted", "interrupted"]
    assert "| second |  | left out: interrupted |" in (tmp_path / "seen.md").read_text()


def test_on_a_gpu_an_engine_is_built_proven_and_run_each_in_a_process_of_its_own(short, with_stand_ins, tmp_path):
    short("edge fp32 engine against its graph", "edge fp32 engine, CUDA graphs")
    seen = verify_machine(VerifySettings(tmp_path / "seen.json"))
    proof, graphs = seen.outcomes
    assert (proof.status, graphs.status) == ("passes", "passes"), seen.bug_report
    assert proof.figures["target"] == "tensorrt"
    assert graphs.figures["bytes_per_frame"]["states"] == 0
    assert ", Stand-in 0, compute capability 8.9, " in markdown(seen).splitlines()[0]


def test_what_a_check_started_ends_with_it(tmp_path):
    """As vmdepth-calibrate, when the time of its check is over."""
    started = tmp_path / "started"
    code = "import subprocess, sys; from pathlib import Path; child = subprocess.Popen(['sleep', '600']); "
    code += f"Path({str(started)!r}).write_text(str(child.pid)); child.wait()"
    with pytest.raises(subprocess.TimeoutExpired):
        run._ended([sys.executable, "-c", code], 5.0)
    ends(int(started.read_text()))


def test_a_check_ends_with_the_command_whatever_ends_that(tmp_path):
    """As where a terminal is closed."""
    started = tmp_path / "started"
    sleeps = ["sh", "-c", f"echo $PPID > {started}.part; mv {started}.part {started}; exec sleep 5"]
    words = ["vmdepth_export.verify.one_check", "subprocess:call", json.dumps({"args": sleeps}), str(tmp_path / "seen")]
    code = f"import sys; from vmdepth_export.verify import run; run._ended([sys.executable, '-m', *{words!r}], 600)"
    with subprocess.Popen([sys.executable, "-c", code]) as command:
        while not started.exists() and command.poll() is None:
            sleep(0.1)
        command.kill()
    ends(int(started.read_text()))


def ends(number):
    """Asserts that a process does: a moment until it is gone, or waits for whoever takes its exit code."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        for _ in range(30):
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            sleep(0.1)
        process.kill()
        pytest.fail("it goes on")


def test_what_does_not_fit_into_the_time_of_quick_is_left_out(short, tmp_path, monkeypatch):
    short("edge, steps on CPU", "edge on the CPU, memory")
    monkeypatch.setattr(run, "_QUICK_SECONDS", 0.1)  # in which no process can have begun
    seen = verify_machine(VerifySettings(tmp_path / "seen.json", quick=True))
    assert [outcome.status for outcome in seen.outcomes] == ["left out"] * 3  # what the machine is, first
    assert not seen.failures
    assert not seen.bug_report


def test_a_reference_that_is_there_is_taken(step_graph):
    assert make_reference(str(step_graph)).told == "given: tiny, 42x56"


def test_without_torch_it_is_said_how_a_reference_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    given = {"output": str(tmp_path / "reference.onnx")}
    result = result_of(make_reference, given)
    assert result["status"] == "left out"
    assert "takes 'torch'; make it on a workstation with 'vmdepth-verify --quick --reference" in result["told"]
    result = result_of(steps, {"graph": given["output"], "device": "cpu", "count": 3})
    assert (result["status"], result["told"]) == ("left out", "its step graph was not made")


@pytest.mark.slow
def test_the_reference_is_proven_and_the_same_every_time(tmp_path):
    seen = make_reference(str(tmp_path / "a.onnx"), (56, 84))
    assert seen.figures["depth"] <= 1e-4
    assert seen.figures["states"] <= 1e-4
    make_reference(str(tmp_path / "b.onnx"), (56, 84))
    first, second = (read_step_graph(tmp_path / name)[1].weights_hash for name in ("a.onnx", "b.onnx"))
    assert first == second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output": "seen.txt"}, "should end in .json"),
        ({"output": "no/seen.json"}, "is not there; make it first"),
        ({"output": "seen.json", "reference": "net.pth"}, "should be a step graph"),
        ({"output": "/proc/seen.json"}, "no file can be there|cannot be written to"),
        (
            {"output": "seen.json", "reference": "net.onnx"},
            "is not there; .* --make-reference --reference GRAPH' makes",
        ),
        ({"output": "seen.json", "make_reference": True}, "name the graph"),
        ({"output": "seen.json", "reference": "no/net.onnx", "make_reference": True}, "is not there; make it first"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_done(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        made = {name: tmp_path / path if isinstance(path, str) else path for name, path in settings.items()}
        verify_machine(VerifySettings(**made))
    assert list(tmp_path.iterdir()) == []


def test_a_neighbour_of_the_output_is_written_over_only_where_it_is_a_table_of_ours(short, tmp_path):
    short()
    settings, table = VerifySettings(tmp_path / "seen.json"), tmp_path / "seen.md"
    for other in ("# Notes", "", "\n\n\n", (Path(__file__).parents[3] / "docs/verify.md").read_text()):
        table.write_text(other)
        with pytest.raises(InputError, match="no table of vmdepth-verify"):
            verify_machine(settings)
        assert table.read_text() == other
        assert not settings.output.exists()
    table.write_text(markdown(Verification([], [], True, 1.0)))
    verify_machine(settings)
    assert "no GPU" in table.read_text() or "Stand-in" in table.read_text()


def test_the_table_holds_what_was_seen_of_every_check():
    outcomes = [Outcome(f"n{i}", f"w{i} | x", "≤ 1", status, f"t{i}") for i, status in enumerate(STATUSES)]
    facts = [("board", "Orin"), ("GPU", "Orin, compute capability 8.7"), ("TensorRT", "10.3"), ("JetPack", "6.2")]
    seen = Verification(facts, outcomes, True, 1.0, date="2026-01-02T03:04:05+01:00")
    assert seen.to_dict()["date"] == seen.date
    first, _, *rows = markdown(seen).splitlines()[:8]
    assert first == (
        f"vmdepth {version('vmdepth')}, 2026-01-02, Orin, JetPack 6.2, Orin, compute capability 8.7, TensorRT 10.3; "
        "1 pass, 1 FAIL, 1 no device, 1 left out."
    )
    assert rows[2:] == [
        "| w0 / x | ≤ 1 | t0 | `vmdepth-verify --quick` |",
        "| w1 / x | ≤ 1 | **fails**: t1 | `vmdepth-verify --quick` |",
        "| w2 / x | ≤ 1 | no device | `vmdepth-verify --quick` |",
        "| w3 / x | ≤ 1 | left out: t3 | `vmdepth-verify --quick` |",
    ]
