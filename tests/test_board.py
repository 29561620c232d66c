"""What is kept for boards (`deploy/jetson/`) agrees with the project; `deploy/jetson/check` tries more of it."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
HOUSE = Path(__file__).parents[1]
JETSON = HOUSE / "deploy" / "jetson"
PROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())
NEEDED = [
    *PROJECT["project"]["dependencies"],
    *(one for extra in ("cpu", "calibrate") for one in PROJECT["project"]["optional-dependencies"][extra]),
]
ROOMS = ("vmdepth", "export/vmdepth_export", "calibrate/vmdepth_calibrate", "runtime/vmdepth_runtime")


@pytest.mark.parametrize("room", ROOMS)
def test_the_source_is_of_python_3_10(room):
    for file in (HOUSE / room).rglob("*.py"):
        ast.parse(file.read_text(), str(file), feature_version=(3, 10))


def test_what_a_board_is_held_to_is_what_the_project_allows():
    allowed = {(wanted := Requirement(text)).name: wanted.specifier for text in NEEDED}
    lines = [line for line in (JETSON / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert len(lines) == 3
    for held in map(Requirement, lines):
        (pin,) = held.specifier
        assert pin.operator == "=="
        assert pin.version in allowed[held.name]


def test_the_page_has_a_wheel_of_every_package_for_both_boards():
    rows = re.findall(
        r"^\| ([\w-]+) \| (\d\S*), .+ \| (\d\S*), .+ \|$", (HOUSE / "docs/jetson.md").read_text(), re.MULTILINE
    )
    listed = {name: versions for name, *versions in rows}
    for wanted in map(Requirement, NEEDED):
        assert all(version in wanted.specifier for version in listed[wanted.name]), wanted
    assert listed["cuda-bindings"][0].startswith("12.")


def test_the_image_is_given_all_that_an_installation_needs():
    kept = {line[1:] for line in (JETSON / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    folders = PROJECT["tool"]["setuptools"]["packages"]["find"]["where"]
    assert kept >= {"vmdepth" if folder == "." else folder for folder in folders}
    assert kept >= {"pyproject.toml", "deploy", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert all((HOUSE / name).exists() for name in kept)


def test_a_check_without_a_python_3_10_says_so(tmp_path):
    for name in ("bash", "dirname", "find", "tail"):
        (tmp_path / name).symlink_to(shutil.which(name))
    alone = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(["bash", JETSON / "check"], env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "deploy/jetson/check: no Python 3.10 here: give one as PYTHON310\n"


def test_an_installation_without_arguments_says_its_usage():
    done = subprocess.run([JETSON / "install"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "usage: deploy/jetson/install VENV [CUDA-BINDINGS [PACKAGE...]]\n"
