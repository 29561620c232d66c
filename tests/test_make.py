"""What the Makefile does where pip does not do its part."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("works", "code", "made"),
    [("install", 0, True), ("index", 2, False), ("nothing", 0, False)],
    ids=["installs", "reaches an index, and fails", "reaches no index"],
)
def test_kernels_of_mamba_ssm_are_left_out_only_where_pip_reaches_no_index(works, code, made, tmp_path):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    pip = tmp_path / ".venv/bin/pip"
    pip.write_text(f'#!/bin/sh\n[ "$1" = {works} ]\n')
    pip.chmod(0o755)
    for name in ("pyproject.toml", ".venv/bin/python", ".venv/test"):
        (tmp_path / name).touch()
    shutil.copy(MAKEFILE, tmp_path)
    done = subprocess.run(["make", "--silent", ".venv/mamba-ssm"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (tmp_path / ".venv/mamba-ssm").exists() == made
    assert ("its tests skip" in done.stdout) == (works == "nothing")
