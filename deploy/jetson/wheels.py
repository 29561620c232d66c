"""Prints which wheels a board installs: the table of docs/jetson.md, by asking PyPI for packages of its kind.

    python deploy/jetson/wheels.py     # Python 3.11 or later, and pip; any machine

Nothing is installed. pip resolves what vmdepth needs on a board, with all that those packages need in turn, and ends
with an error where one of them has no wheel for it. Versions are held by the same constraints as `install` holds them.
What packages need only on some version of Python is as for the one that runs this.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
# Python and CUDA of a JetPack; glibc of its Ubuntu says which wheels it takes.
BOARDS = {
    "JetPack 6, Python 3.10": ("3.10", 35, "cuda-bindings<13"),
    "JetPack 7, Python 3.12": ("3.12", 39, "cuda-bindings"),
}


def wheels(python: str, glibc: int, bindings: str) -> dict[str, str]:
    """Package → version and kind of its wheel, of all that is installed. Raises CalledProcessError without one."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["cpu"], *extras["calibrate"], bindings]
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(glibc, 16, -1)]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(_holding((HERE / "constraints.txt").read_text(), python)))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report=-"]
        kind = ["--only-binary=:all:", f"--target={folder}", f"--python-version={python}", *platforms]
        kind += ["--platform=manylinux2014_aarch64", "--disable-pip-version-check", f"--constraint={constraints}"]
        done = subprocess.run([*command, *kind, *wanted], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)["install"]
    return {p["metadata"]["name"].lower().replace("_", "-"): _version_and_kind(p) for p in found}


def _holding(constraints: str, python: str) -> list[str]:
    """Lines that are for a Python: pip compares their markers with the Python that runs it."""
    lines = (line.partition("#")[0].partition(";") for line in constraints.splitlines())
    return [pin for pin, _, marker in lines if not marker or python == "3.10"]


def _version_and_kind(package: dict) -> str:
    file = package["download_info"]["url"].rpartition("/")[2]
    *_, python, abi, platform = file.removesuffix(".whl").split("-")
    return f"{package['metadata']['version']}, {'any machine' if platform == 'any' else f'{python}-{abi}'}"


def main() -> None:
    found = {board: wheels(*facts) for board, facts in BOARDS.items()}
    print(f"| package | {' | '.join(found)} |\n|---|{'---|' * len(found)}")
    for name in sorted({name for of_board in found.values() for name in of_board}):
        print(f"| {name} | {' | '.join(of_board.get(name, '') for of_board in found.values())} |")


if __name__ == "__main__":
    main()
