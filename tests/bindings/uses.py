"""What is said of names of libraries: things they stand for, places where they are used, what has to be so there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """What a name stands for. name: "" is the library itself. instance: one of that class, not the class."""

    library: str
    name: str = ""
    instance: bool = False


@dataclass(frozen=True)
class Guard:
    """What has to be so: that a library `has` a name, or that it is the `target`."""

    kind: str
    what: str
    holds: bool


@dataclass(frozen=True)
class Use:
    """One place. kind: "read", "set", "call", "optional" (asked for by hasattr or getattr), "override" (in a class of
    ours). arguments: how many by place; None where that is not known. keywords: of those passed by name."""

    where: str
    library: str
    name: str
    kind: str
    arguments: int | None = None
    keywords: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()


Things = frozenset[Thing]
Names = dict[str, dict[str, str]]  # name → form → versions
NOTHING: Things = frozenset()


def guards_of(test: ast.expr, holds: bool) -> Iterator[Guard]:
    """What is so where a test came out as `holds`."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            yield from guards_of(inner, not holds)
        case ast.Call(func=ast.Name(id="hasattr"), args=[_, ast.Constant(value=name)]):
            yield Guard("has", name, holds)
        case ast.Compare(left=ast.Attribute(attr="target"), ops=[ast.Eq()], comparators=[ast.Constant(value=target)]):
            yield Guard("target", target, holds)
        case ast.BoolOp(op=ast.And(), values=values) if holds:
            for value in values:
                yield from guards_of(value, holds)


def functions_of(node: ast.AST, scope: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions in a file or a part of it, each with the scope that names have in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield f"{scope}.{child.name}", child
        inner = f"{scope}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else scope
        yield from functions_of(child, inner)
