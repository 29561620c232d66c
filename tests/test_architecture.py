"""The sizes that keep the house readable; who may import whom is import-linter's, in `make check`."""

import ast
from collections import Counter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
ROOMS = ("vmdepth", "export/vmdepth_export", "calibrate/vmdepth_calibrate", "runtime/vmdepth_runtime")
MODULES = [file for room in ROOMS for file in sorted((HOUSE / room).rglob("*.py"))]
FILE_LINES, FUNCTION_LINES, MODULES_PER_FOLDER = 350, 60, 14


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_files_and_functions_are_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_no_folder_has_too_many_modules():
    counts = Counter(file.parent.relative_to(HOUSE) for file in MODULES if file.name != "__init__.py")
    assert counts.total() > 100
    assert {folder: count for folder, count in counts.items() if count > MODULES_PER_FOLDER} == {}
