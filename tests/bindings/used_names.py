"""Which names of TensorRT, TensorRT-RTX, cuda-bindings and libcuda the product uses, found in its source."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

from following import LOADERS, PARAMETERS, Walk
from uses import Names, Use

__all__ = ["HOUSE", "LOADERS", "PARAMETERS", "find_uses", "product_files"]
HOUSE = Path(__file__).parents[2]
ROOMS = ("vmdepth", "export/vmdepth_export", "calibrate/vmdepth_calibrate", "runtime/vmdepth_runtime")


def product_files() -> list[Path]:
    """Of ours, those that could have to do with any of it."""
    files = (file for room in ROOMS for file in sorted((HOUSE / room).rglob("*.py")))
    return [file for file in files if re.search("tensorrt|cuda|ModuleType", file.read_text())]


def find_uses(tables: dict[str, Names], files: list[Path] | None = None) -> list[Use]:
    """tables: library → names of `real_names`, by which results of calls are known. files: None takes the product."""
    sources = {str(f): ast.parse(f.read_text()) for f in (product_files() if files is None else files)}
    walk = Walk(tables, sources)
    while True:  # until nothing more is learnt of what names stand for
        walk.uses.clear()
        before = len(walk.known), sum(map(len, walk.known.values()))
        for path, tree in sources.items():
            walk.file(path, tree)
        if (len(walk.known), sum(map(len, walk.known.values()))) == before:
            house = f"{HOUSE}/"
            found = {replace(use, where=use.where.removeprefix(house)) for use in walk.uses}
            return sorted(found, key=lambda use: (use.where, use.name))
