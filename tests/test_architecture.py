"""Sizes that keep the house readable, and paths in prose; who may import whom is import-linter's, in `make check`."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
ROOMS = ("vmdepth", "export/vmdepth_export", "calibrate/vmdepth_calibrate", "runtime/vmdepth_runtime")
MODULES = [file for room in ROOMS for file in sorted((HOUSE / room).rglob("*.py"))]
PROSE = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").rglob("*.md"))]
# Also what a link leads to, but nothing inside a longer path or a URL.
PATH = re.compile(r"(?<![\w./-])(?:\.\./)?((?:tests|vmdepth|export|runtime|calibrate|vmdepth_\w+)/[\w./-]*\w)")
FILE_LINES, FUNCTION_LINES, MODULES_PER_FOLDER = 350, 60, 14


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_files_and_functions_are_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lengths = [(node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    assert [found for found in lengths if found[2] > FUNCTION_LINES] == []


def test_no_folder_has_too_many_modules():
    counts = Counter(file.parent.relative_to(HOUSE) for file in MODULES if file.name != "__init__.py")
    assert counts.total() > 100
    assert {folder: count for folder, count in counts.items() if count > MODULES_PER_FOLDER} == {}


def test_prose_names_files_that_are_there():
    """`vmdepth_runtime/…` and its like stand for the package's folder, `runtime/vmdepth_runtime/…`."""
    named = {(file.name, path) for file in PROSE for path in PATH.findall(file.read_text())}
    assert len(named) > 30
    folders = [(HOUSE / room).parent for room in ROOMS]  # of vmdepth itself: the house
    assert [(name, path) for name, path in sorted(named) if not any((f / path).exists() for f in folders)] == []
