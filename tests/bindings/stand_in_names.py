"""What the stand-ins of `tests/stand_ins` offer, by the real names: classes of TensorRT, functions of the driver."""

from __future__ import annotations

import ast
import re
from pathlib import Path

STAND_INS = Path(__file__).parents[1] / "stand_ins"
# Classes that TensorRT names otherwise, as nobody makes one by its name.
REAL_CLASSES = {
    "_Config": "IBuilderConfig",
    "_Memory": "IHostMemory",
    "_Network": "INetworkDefinition",
    "_ParserError": "ParserError",
    "_Tensor": "ITensor",
    "_TimingCache": "ITimingCache",
}


def stand_in_classes() -> dict[str, dict[str, list[str] | None]]:
    """Class of TensorRT → what the stand-in's has → names of its arguments; None where it is not called.

    What lies on an object without being a method is the stand-in's own matter.
    """
    trees = [ast.parse(file.read_text()) for file in sorted((STAND_INS / "tensorrt").glob("*.py"))]
    return dict(_class(node) for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))


def _class(node: ast.ClassDef) -> tuple[str, dict[str, list[str] | None]]:
    offered: dict[str, list[str] | None] = {}
    for inner in node.body:
        match inner:
            case ast.FunctionDef(name=name) if name[0] != "_" or name == "__init__":
                property_ = any(isinstance(d, ast.Name) and d.id == "property" for d in inner.decorator_list)
                offered[name] = None if property_ else [a.arg for a in inner.args.args[1:]]
            case ast.ClassDef(name=name):
                offered |= {name: None} | {f"{name}.{member}": None for member in _class(inner)[1]}
            case ast.Assign(targets=[target]):
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                offered |= {n.id: None for n in names if isinstance(n, ast.Name) and n.id[0] != "_"}
    return REAL_CLASSES.get(node.name, node.name), offered


def stand_in_functions() -> dict[str, int]:
    """Exported function of the stand-in for libcuda, without what it has beside → how many arguments it takes."""
    source = (STAND_INS / "cuda/libcuda.c").read_text()
    found = re.findall(r"^R (cu\w+)\(((?:[^()]|\([^()]*\))*)\) \{", source, re.MULTILINE)
    return {name: arguments.count(",") + 1 if arguments.strip() not in ("", "void") else 0 for name, arguments in found}
