"""The umbrella command: every verb is a console script of the distribution."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent


def run(*arguments):
    return subprocess.run([SCRIPTS / arguments[0], *arguments[1:]], capture_output=True, text=True, check=False)


def test_help_lists_the_verbs():
    done = run("vmdepth", "--help")
    assert done.returncode == 0
    for verb in ("run", "train", "eval", "export", "parity", "bench"):
        assert verb in done.stdout


@pytest.mark.parametrize("verb", ["run", "train", "eval", "export", "parity", "bench"])
def test_a_verb_is_its_own_command(verb):
    umbrella, own = run("vmdepth", verb, "--help"), run(f"vmdepth-{verb}", "--help")
    assert umbrella.returncode == own.returncode == 0
    assert umbrella.stdout == own.stdout
    assert f"Usage: vmdepth-{verb}" in own.stdout


def test_an_unknown_verb_is_one_line_and_exit_2():
    done = run("vmdepth", "fly")
    assert done.returncode == 2
    assert done.stderr.startswith("vmdepth: no verb 'fly'; there are:")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_missing_extra_is_named_with_its_install_command():
    hide_torch = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['vmdepth-eval', 'x.onnx', 'rendered']; "
        "from vmdepth.evaluate import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", hide_torch], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == "vmdepth-eval: this command needs 'torch': pip install 'vmdepth[train]'"
