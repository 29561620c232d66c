"""The umbrella command: every verb is a console script of the distribution."""

import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
VERBS = [
    *("run", "ros", "info", "train", "train-motion", "precompute", "views", "masks", "eval"),
    *("export", "calibrate", "parity", "bench", "verify"),
]


def run(*arguments):
    return subprocess.run([SCRIPTS / arguments[0], *arguments[1:]], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [["vmdepth"], ["vmdepth", "-h"], ["vmdepth", "--help"], ["python", "-m", "vmdepth"]])
def test_help_says_in_a_line_what_each_verb_does(words):
    done = run(*words)
    assert done.returncode == 0
    told = dict(re.findall(r"^  ([\w-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert set(told) == set(VERBS)
    assert all(line.endswith((".", "?")) for line in told.values())  # whole within 80 columns


def test_help_takes_no_library_that_is_slow_to_import():
    code = "import sys; sys.argv[1:] = ['-h']; from vmdepth_runtime.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\n"
    code += "print({'torch', 'onnx', 'numpy', 'cv2', 'av', 'rich'} & set(sys.modules), file=sys.stderr)"
    assert run("python", "-c", code).stderr == "set()\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_a_short_help_and_its_version(verb):
    assert run(f"vmdepth-{verb}", "-h").stdout == run(f"vmdepth-{verb}", "--help").stdout
    done = run("vmdepth", verb, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vmdepth {version('vmdepth')}\n", "")


def test_the_version_is_known_everywhere():
    import vmdepth
    import vmdepth_runtime

    assert run("vmdepth", "--version").stdout == f"vmdepth {version('vmdepth')}\n"
    assert vmdepth.__version__ == vmdepth_runtime.__version__ == version("vmdepth")


NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")


@pytest.mark.parametrize(
    "name", [pytest.param("vmdepth", marks=NEEDS_TORCH), "vmdepth_runtime", "vmdepth_export", "vmdepth_calibrate"]
)
def test_names_that_are_loaded_late_are_seen_by_completion(name):
    package = import_module(name)
    assert set(package.__all__) <= set(dir(package))
    assert "__doc__" in dir(package)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_its_own_command(verb):
    umbrella, own = run("vmdepth", verb, "--help"), run(f"vmdepth-{verb}", "--help")
    assert umbrella.returncode == own.returncode == 0
    assert umbrella.stdout == own.stdout
    assert f"Usage: vmdepth-{verb}" in own.stdout


def test_an_unknown_verb_is_one_line_and_exit_2():
    done = run("vmdepth", "fly")
    assert done.returncode == 2
    assert done.stderr.startswith("vmdepth: no verb 'fly'; there are: bench, calibrate, ")
    assert len(done.stderr.strip().splitlines()) == 1
    done = run("vmdepth", "exprot")
    assert done.returncode == 2
    assert done.stderr.startswith("vmdepth: no verb 'exprot'; did you mean 'export'?")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("vmdepth.evaluate", ["vmdepth-eval", "x.onnx", "rendered"]),
        ("vmdepth.train", ["vmdepth-train", "tiny", "--out", "nothere"]),
        ("vmdepth_export.conversion.cli", ["vmdepth-export", "x.safetensors", "-o", "x.onnx"]),
        ("vmdepth_export.info.cli", ["vmdepth-info", "x.safetensors"]),
    ],
)
def test_a_missing_library_is_named_with_the_one_extra_that_brings_all(module, words, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"")
    hide_torch = (
        f"import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None; sys.argv = {words}; "
        f"from {module} import main; main()"
    )
    words = [sys.executable, "-c", hide_torch]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    *stages, line = done.stderr.splitlines()
    assert all(stage.startswith("vmdepth-export: loads x.safetensors") for stage in stages)
    assert re.fullmatch(r"vmdepth-\w+: this needs '(torch|onnx)': pip install 'vmdepth\[export\]'", line)


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [
        ("vmdepth_export.conversion.cli", ["vmdepth-export", "x.onnx", "-o", "x.engine"], "calibrate"),
        ("vmdepth_export.parity.cli", ["vmdepth-parity", "x.onnx", "x.engine", "--frames", "3"], "calibrate"),
        ("vmdepth_export.parity.cli", ["vmdepth-parity", "x.safetensors", "x.engine"], "export"),
        ("vmdepth_calibrate.cli", ["vmdepth-calibrate", "scale", "--data", "x.mcap", "-o", "m.onnx"], "calibrate"),
    ],
)
def test_boards_are_not_sent_for_torch_where_graphs_need_none(module, words, extra, tmp_path):
    for name in ("x.onnx", "x.engine", "x.safetensors"):
        (tmp_path / name).write_bytes(b"")
    code = f"import sys; sys.modules['torch'] = sys.modules['onnx'] = None; sys.argv = {words}; "
    code += f"from {module} import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    name = "vmdepth-calibrate scale" if "scale" in words else words[0]
    assert done.stderr == f"{name}: this needs 'onnx': pip install 'vmdepth[{extra}]'\n"


LOST = """
import os, signal, sys, time, weakref
import click
from vmdepth_runtime.cli import run_command

signal.signal(signal.SIGINT, signal.default_int_handler)

@click.command("vmdepth-wait")
def command():
    class Watched: pass
    watched = Watched()
    watch = weakref.ref(watched, lambda _: os.kill(os.getpid(), signal.SIGINT) or sum(range(1000)))
    del watched  # its callback is interrupted, and Python drops what a callback raises
    time.sleep(30)

run_command(command, [])
"""


def test_an_interrupt_in_a_callback_is_not_lost():
    done = run("python", "-c", LOST)
    assert (done.returncode, done.stderr.strip()) == (130, "vmdepth-wait: interrupted")
